// Keeps the page up to date: fetches it again and puts the parts marked data-live that
// have changed in the place of the old ones. Without this script the page is complete,
// only not live.
"use strict";

(function () {
  const SLOW = 5000; // milliseconds between two looks
  const FAST = 1000; // while an action runs
  const TIMEOUT = 15000;
  const FOCUSABLE = "a, button, summary, [tabindex]";
  const news = document.getElementById("news");
  let waiting = null;

  function say(text) {
    if (news.textContent !== text) {
      news.textContent = text;
    }
  }

  function said(root) {
    const found = new Map();
    for (const part of root.querySelectorAll("[data-say]")) {
      const badge = part.querySelector(".badge");
      if (badge) {
        found.set(part.dataset.say, badge.textContent.trim());
      }
    }
    return found;
  }

  function replace(old, fresh) {
    const active = document.activeElement;
    const inside = active && active !== document.body && old.contains(active);
    // Links, buttons and scrolled tables can have the focus: it stays where it was.
    const place = inside ? [...old.querySelectorAll(FOCUSABLE)].indexOf(active) : -1;
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    const node = document.importNode(fresh, true);
    // What somebody has unfolded, or folded, stays so.
    for (const fold of old.querySelectorAll("details[id]")) {
      const again = node.querySelector("#" + CSS.escape(fold.id));
      if (again && fold.dataset.touched) {
        again.open = fold.open;
        again.dataset.touched = "yes";
      }
    }
    old.replaceWith(node);
    [...node.querySelectorAll(".scroll")].forEach((box, index) => {
      box.scrollLeft = scrolled[index] || 0;
    });
    if (place >= 0) {
      const again = node.querySelectorAll(FOCUSABLE)[place];
      if (again) {
        again.focus({ preventScroll: true });
      }
    }
  }

  function update(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const before = said(document);
    for (const old of document.querySelectorAll("[data-live]")) {
      const part = fresh.getElementById(old.id);
      if (part && part.outerHTML !== old.outerHTML) {
        replace(old, part);
      }
    }
    const changes = [];
    for (const [what, word] of said(document)) {
      if (before.has(what) && before.get(what) !== word) {
        changes.push(what + ": " + word);
      }
    }
    if (changes.length) {
      say(changes.join(". "));
    } else if (news.dataset.trouble) {
      say("");
    }
    delete news.dataset.trouble;
  }

  async function look() {
    waiting = null;
    if (!document.hidden) {
      try {
        const answer = await fetch(location.pathname + location.search, {
          headers: { "X-Live": "1" },
          cache: "no-store",
          credentials: "same-origin",
          signal: AbortSignal.timeout(TIMEOUT),
        });
        if (answer.redirected) {
          say("You are logged out. Reload the page to log in.");
          return;
        }
        if (!answer.ok) {
          throw new Error(String(answer.status));
        }
        update(await answer.text());
      } catch (error) {
        news.dataset.trouble = "yes";
        say("The server does not answer; this page is out of date.");
      }
    }
    plan();
  }

  function plan() {
    if (waiting === null) {
      waiting = setTimeout(look, document.querySelector("[data-fast]") ? FAST : SLOW);
    }
  }

  // To mark a server is to mean that server.
  document.addEventListener("change", (event) => {
    if (event.target.dataset.scope) {
      const radio = document.querySelector('input[name="scope"][value="chosen"]');
      if (radio) {
        radio.checked = true;
      }
    }
  });

  document.addEventListener("click", (event) => {
    const fold = event.target.closest("summary");
    if (fold) {
      fold.parentElement.dataset.touched = "yes";
    }
  });

  // A second click is not a second order.
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) {
      event.preventDefault();
    }
    event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.forms) {
      delete form.dataset.sent;
    }
  });

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && waiting !== null) {
      clearTimeout(waiting);
      look();
    }
  });

  // The answer to a form is not a page to be fetched again.
  if (document.body.hasAttribute("data-live-page") && document.querySelector("[data-live]")) {
    plan();
  }
})();
