/** Clips of the library that this browser cannot play, shown as WebM, which the server writes when it is asked. */
const UNPLAYABLE = [MediaError.MEDIA_ERR_DECODE, MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED];

document.addEventListener("error", ({ target }) => {
  if (!(target instanceof HTMLVideoElement) || !UNPLAYABLE.includes(target.error?.code)) return;
  const address = new URL(target.src);
  if (!address.pathname.startsWith("/v1/library/") || address.searchParams.has("format")) return;
  address.searchParams.set("format", "webm");
  target.src = address.href;
}, true); // errors of media do not bubble
