/** Icons, as lines of 24 x 24. */
import { html } from "./html.js";

const LINES = {
  sun: "M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m0-11.4L4.9 4.9m14.2 14.2-1.4-1.4M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  moon: "M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z",
  half: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 0v18m3-17.500v17m3-14.500v12",
  plus: "M12 5v14M5 12h14",
  cut: "M12 4v16M5 8h4M5 16h4M15 8h4M15 16h4",
  pin: "M12 21V9m0 0a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7z",
  picture: "M4 5h16v14H4zM4 16.500l5-5 4 4 3-3 4 4M15.500 9v.010",
  mask: "M4 5h16v14H4zM7.500 13c.500-4 6-5 8.500-2s-1.500 5-4 4.500-5 1-4.500-2.500z",
  dropper: "M4 20l1-4 8-8 3 3-8 8zM11.500 6.500l6 6M14.500 9.500l2.500-2.500a2.100 2.100 0 0 0-3-3L11.500 6.500",
  film: "M4 5h16v14H4zM8 5v14m8-14v14M4 9.500h4m-4 5h4m8-5h4m-4 5h4",
  upload: "M12 16V5m0 0L7.500 9.500M12 5l4.500 4.500M5 19h14",
  heart: "M12 20C5 15 3.500 11.500 3.500 8.700A4.400 4.400 0 0 1 12 7a4.400 4.400 0 0 1 8.500 1.700C20.500 11.500 19 15 12 20z",
  check: "M4.500 4.500h15v15h-15z",
  checked: "M4.500 4.500h15v15h-15zM8 12l3 3 5.500-6",
  bin: "M5 7h14M10 4h4M7 7l1 13h8l1-13",
  download: "M12 4v11m0 0l4.500-4.500M12 15l-4.500-4.500M5 19h14",
  play: "M7 4.500v15l12-7.500z",
  pause: "M8 5v14M16 5v14",
  up: "M6 14l6-6 6 6",
  down: "M6 10l6 6 6-6",
  grip: "M9 6v.010M15 6v.010M9 12v.010M15 12v.010M9 18v.010M15 18v.010",
  pencil: "M4 20l1-4.500L16 4.500l3.500 3.500L8.500 19z",
  eraser: "M9 19l-4.500-4.500 9-9L20 12l-7 7zM9 19h11",
  box: "M4 6h16v12H4z",
  spark: "M12 3l1.800 5.200L19 10l-5.200 1.800L12 17l-1.800-5.200L5 10l5.200-1.800zM19 16v4m-2-2h4",
};

export function Icon({ name }) {
  return html`<svg class="line ${name === "hearted" ? "full" : ""}" viewBox="0 0 24 24" aria-hidden="true"><path d=${LINES[name === "hearted" ? "heart" : name]} /></svg>`;
}
