// Shows when the dashboard itself does not respond; the server renders everything else on the page.
"use strict";

const showAnswering = (answering) => {
  const gone = document.getElementById("gone");
  if (gone) gone.hidden = answering;
};

document.addEventListener("htmx:error", () => showAnswering(false));
document.addEventListener("htmx:after:request", (event) => showAnswering(event.detail.ctx.response.status < 400));

// A log that was scrolled to its end stays there while lines are added.
document.addEventListener("DOMContentLoaded", () => {
  const log = document.getElementById("log");
  if (!log) return;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  let atEnd = !location.hash;
  if (atEnd) toEnd();
  log.addEventListener("scroll", () => { atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8; });
  new MutationObserver(() => { if (atEnd) toEnd(); }).observe(log, { childList: true });
});
