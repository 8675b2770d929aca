// The token, where the service asks for one.

import { $ } from "./dom.js";
import { notice } from "./notice.js";
import { token } from "./service.js";

// Of a TokenWanted: for the first time, or because the one that was sent is wrong.
export function askForToken({ sent }) {
  if (sent) token.forget();
  else if (!$("login").hidden) return; // asked already, and the token perhaps half typed
  say(sent ? "That token is not known." : "This service asks for a token.", sent);
}

// `again()` is called with each token that may be sent.
export function receiveToken(again) {
  $("login").onsubmit = (event) => {
    event.preventDefault();
    const text = $("token").value.trim();
    // No other can be in a header; the browser would fail as if the service were away.
    if (!/^[\x20-\x7e]+$/.test(text)) return say("A token has only letters, digits and signs of ASCII.", true);
    token.set(text);
    $("login").hidden = true;
    notice("token", "");
    again();
  };
}

function say(sentence, wrong) {
  notice("token", sentence);
  $("token").setAttribute("aria-invalid", wrong);
  $("login").hidden = false;
  $("token").focus();
  $("token").select();
}
