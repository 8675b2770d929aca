// The page's elements, by the names that index.html gives them.

export const $ = (id) => document.getElementById(id);
