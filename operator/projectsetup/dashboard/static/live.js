// Shows when the dashboard itself does not respond; the server renders everything else on the page.
"use strict";

const showAnswering = (answering) => {
  const gone = document.getElementById("gone");
  if (gone) gone.hidden = answering;
};

document.addEventListener("htmx:error", () => showAnswering(false));
document.addEventListener("htmx:after:request", (event) => showAnswering(event.detail.ctx.response.status < 400));
