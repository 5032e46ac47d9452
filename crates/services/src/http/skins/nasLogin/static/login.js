(function () {
  "use strict";
  var field = document.getElementById("password");
  var reveal = document.getElementById("reveal");
  var clock = document.getElementById("clock");
  reveal.hidden = false;
  reveal.addEventListener("click", function () {
    var shown = field.type === "text";
    field.type = shown ? "password" : "text";
    reveal.setAttribute("aria-pressed", String(!shown));
    field.focus();
  });
  function tick() {
    var now = new Date();
    clock.dateTime = now.toISOString();
    clock.textContent = now.toLocaleString([], { weekday: "long", hour: "2-digit", minute: "2-digit" });
  }
  tick();
  setInterval(tick, 15000);
})();
