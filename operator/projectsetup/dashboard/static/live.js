// Says when the dashboard itself does not answer; everything else on the page is made by the server.
"use strict";

const told = (answers) => {
  const gone = document.getElementById("gone");
  if (gone) gone.hidden = answers;
};

document.addEventListener("htmx:error", () => told(false));
document.addEventListener("htmx:after:request", (event) => told(event.detail.ctx.response.status < 400));
