// Light and dark, and buttons that copy: on every page of `regimen ui`.
(() => {
  const NAMES = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" };
  const stored = () => localStorage.getItem("regimen-theme") || "auto";
  const systemDark = matchMedia("(prefers-color-scheme: dark)");

  function apply() {
    const theme = stored();
    const dark = theme === "dark" || (theme === "auto" && systemDark.matches);
    if (window.Quasar) Quasar.Dark.set(dark);
    else if (document.body) document.body.classList.add(dark ? "body--dark" : "body--light");
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    for (const button of document.querySelectorAll("[data-theme]")) button.textContent = NAMES[theme];
  }
  systemDark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    new MutationObserver((_, observer) => {  // the frame of the page appears when its scripts have run
      if (document.querySelector("[data-theme]")) { apply(); observer.disconnect(); }
    }).observe(document.body, { childList: true, subtree: true });
  });
  document.addEventListener("click", async (event) => {
    const target = event.target.closest("[data-theme], [data-copy]");
    if (!target) return;
    if (target.dataset.theme !== undefined) {
      const order = Object.keys(NAMES);
      localStorage.setItem("regimen-theme", order[(order.indexOf(stored()) + 1) % order.length]);
      apply();
    } else {
      await navigator.clipboard.writeText(target.dataset.copy).catch(() => {
        const range = document.createRange();  // no clipboard without a secure context: select it instead
        range.selectNodeContents(target.previousElementSibling);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
      });
      target.textContent = "copied";
      setTimeout(() => { target.textContent = "copy"; }, 1200);
    }
  });

  // Films that play in step: the same time in all of them, up to the end of the longest one.
  const filmsOf = (element) => [...element.closest("[data-films]").querySelectorAll("video")];
  const longest = (films) => Math.max(...films.map((film) => film.duration || 0), 0.01);
  function leader(films) { return films.reduce((a, b) => ((b.duration || 0) > (a.duration || 0) ? b : a)); }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-sync=play], [data-sync=back]");
    if (!button) return;
    const films = filmsOf(button), first = leader(films);
    if (button.dataset.sync === "back" || first.ended) for (const film of films) film.currentTime = 0;
    const play = button.dataset.sync === "back" || first.paused;
    for (const film of films) { if (play) film.play(); else film.pause(); }
    const group = button.closest("[data-films]");
    group.querySelector("[data-sync=play]").textContent = play ? "pause" : "play";
    const step = () => {
      const slider = group.querySelector("[data-sync=seek]");
      slider.value = first.currentTime / longest(films);
      group.querySelector("[data-sync=time]").textContent = `${first.currentTime.toFixed(2)} s`;
      for (const film of films)  // one that falls behind is set to the time of the others
        if (film !== first && !film.ended && Math.abs(film.currentTime - first.currentTime) > 0.15)
          film.currentTime = Math.min(first.currentTime, film.duration);
      if (!first.paused && !first.ended) requestAnimationFrame(step);
      else group.querySelector("[data-sync=play]").textContent = "play";
    };
    requestAnimationFrame(step);
  });
  document.addEventListener("input", (event) => {
    if (event.target.dataset?.sync !== "seek") return;
    const films = filmsOf(event.target), time = event.target.value * longest(films);
    for (const film of films) { film.pause(); film.currentTime = Math.min(time, film.duration || 0); }
  });

  // One parameter of the address, without a new entry in the history of the browser.
  window.regimenAddress = (name, value) => {
    const address = new URL(location.href);
    if (value === null || value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
    history.replaceState(history.state, "", address);
  };
})();
