"""Images that a pen might have made, drawn by a program: digits as people write them, and what is
no digit at all. Models learn from them what MNIST does not show."""
