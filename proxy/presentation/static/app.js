// Comfort only: every page works without this file. It adds copy buttons, two keys, and a pulse
// for figures that follow the server. It never looks into a README, whose content is foreign.
(() => {
  "use strict";
  const status = document.getElementById("status");
  const say = (text) => { if (status) status.textContent = text; };

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  // Without TLS a page has no clipboard, and permission may be denied: then the text is selected.
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.dataset.copy ?? element.textContent);
      return true;
    } catch {
      select(element);
      return document.execCommand("copy");
    }
  };

  const addButtons = (root) => {
    for (const source of root.querySelectorAll("[data-copyable]")) {
      if (source.closest(".readme") || source.dataset.ready) continue;
      source.dataset.ready = "yes";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy " + source.dataset.copyable);
      button.addEventListener("click", async () => {
        const done = await copy(source);
        say(done ? "Copied" : "The text is selected: press Ctrl+C");
        button.textContent = done ? "Copied" : "Press Ctrl+C";
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      source.after(button);
    }
  };

  const isTyping = (target) =>
    target.closest("input, select, textarea, [contenteditable]") !== null;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const field = document.querySelector("main input[name=q]");
    if (event.key === "Escape" && event.target === field) field.blur();
    if (isTyping(event.target)) return;
    if (event.key === "/") {
      const link = document.querySelector("header a[data-search]");
      if (field) { event.preventDefault(); field.focus(); }
      else if (link) { event.preventDefault(); link.click(); }
    }
    if (event.key === "?") document.querySelector("footer a[data-help]")?.click();
  });

  addButtons(document);
  document.addEventListener("htmx:after:swap", () => addButtons(document));

  // Figures listen for this event; a hidden page fetches nothing.
  setInterval(() => {
    if (document.visibilityState === "visible") document.body.dispatchEvent(new Event("refresh"));
  }, 10000);
})();
