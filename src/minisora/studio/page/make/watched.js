/** The job that the timeline shows, as long as what was asked for is in the form. */
import { cell, useCell } from "../cell.js";
import { html, useEffect, useState } from "../html.js";
import { number, t, tOr } from "../language.js";
import { follower, sent } from "../outbox.js";
import { isFinal, jobs, loadItem } from "../store.js";
import { bodyOf, slotOf } from "./form.js";

const watched = cell(null); // { id or key, asked, seen }; seen: it was looked at since it ended
const asked = (one) => JSON.stringify(bodyOf(one));

/** Watch a job by { id }, or by the { key } of a request that is on its way. */
export const watch = (which, one) => watched.set({ ...which, asked: asked(one), seen: false });
export const see = () => watched.set((before) => before && { ...before, seen: true });

/** The watched job, { video, preview, seen }; undefined if there is none, or not yet. */
export function useWatched() {
  const now = useCell(watched), known = useCell(jobs);
  const job = known.get(follower(useCell(sent), now?.id ?? now?.key));
  return job && { ...job, seen: now.seen };
}

/** How far the watched job is: { share, preview, medium }; null once the form was changed. */
export function useRunning(one) {
  const now = useCell(watched), job = useWatched();
  const [picture, setPicture] = useState(null), [medium, setMedium] = useState(null);
  const source = job?.preview ?? null, id = job?.video.id, state = job?.video.minisora.state;
  useEffect(() => {
    if (!source) { setPicture(null); return; }
    const image = new Image();
    image.onload = () => setPicture(image);
    image.src = source;
  }, [source]);
  useEffect(() => {
    setMedium(null);
    if (state === "done") loadItem(id).then((item) => setMedium({ ...slotOf(item), of: id }), () => {}); // the form stays as it is
  }, [id, state]);
  if (!job || now.asked !== asked(one) || ["failed", "cancelled"].includes(state)) return null;
  if (state === "done" && medium?.of === id) return { share: 1, preview: null, medium };
  return { share: job.video.progress / 100, preview: picture, medium: null };
}

/** What is done to a running job just now, and how far it is; the bar beside it shows the same. */
export function Progress({ video: { progress, minisora: { stage } } }) {
  const steps = stage?.total > 1 ? t("draft.steps", { n: number(stage.done), all: number(stage.total) }) : "";
  return html`<span title=${steps}>${stage ? tOr(`stage.${stage.name}`, stage.name) : t("state.running")} · ${t("unit.percent", { n: number(progress) })}</span>`;
}

/** The job to tell of: the watched one until it was seen, else one that runs or waits. */
export function useTold() {
  const job = useWatched(), known = useCell(jobs);
  if (job && (!isFinal(job.video) || (!job.seen && job.video.minisora.state !== "cancelled"))) return job.video;
  const open = [...known.values()].map(({ video }) => video).filter((video) => !isFinal(video));
  return open.find(({ minisora }) => minisora.state === "running") ?? open[0];
}
