/**
 * Masks as files: a PNG, or an animated one whose frames last as long as each holds.
 *
 * Eight bits of grey, without loss: PNG (third edition, W3C 2025), sections 5, 10 and 11.
 */
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LONGEST = 60_000; // ms of a frame, whose delay is a number of 16 bits
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/**
 * File of a mask.
 *
 * frames: { grey, from }: width * height bytes, and the ms at which it begins, the first at 0
 * end:    ms at which the last is over
 */
export async function png(frames, { width, height, end }) {
  const shown = frames.flatMap(({ grey, from }, n) => lengths((frames[n + 1]?.from ?? end) - from).map((lasts) => ({ grey, lasts })));
  const chunks = [chunk("IHDR", u32(width), u32(height), [8, 0, 0, 0, 0])];
  if (frames.length === 1) chunks.push(chunk("IDAT", await packed(frames[0].grey, width, height)));
  else {
    chunks.push(chunk("acTL", u32(shown.length), u32(0)));
    let number = 0;
    for (const { grey, lasts } of shown) {
      const data = await packed(grey, width, height);
      chunks.push(chunk("fcTL", u32(number++), u32(width), u32(height), u32(0), u32(0), u16(lasts), u16(1000), [0, 0]));
      chunks.push(number === 1 ? chunk("IDAT", data) : chunk("fdAT", u32(number++), data));
    }
  }
  return new Blob([new Uint8Array(SIGNATURE), ...chunks, chunk("IEND")], { type: "image/png" });
}

/** A length in pieces of at most the longest delay. */
function lengths(milliseconds) {
  const count = Math.max(1, Math.ceil(milliseconds / LONGEST));
  return Array.from({ length: count }, (_, n) => Math.min(LONGEST, milliseconds - n * LONGEST));
}

/** Rows without a filter, deflated. */
async function packed(grey, width, height) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(grey.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return new Uint8Array(await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
}

function chunk(kind, ...parts) {
  const data = joined([...kind].map((letter) => letter.charCodeAt(0)), ...parts);
  return joined(u32(data.length - 4), data, u32(crc(data)));
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value;
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

const u16 = (value) => [value >>> 8 & 255, value & 255];
const u32 = (value) => [...u16(value >>> 16), ...u16(value)];
