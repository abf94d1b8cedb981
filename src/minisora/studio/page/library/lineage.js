/** What an item was made from, and what was made from it: a tree that grows to the right, as time does. */
import { get } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { t } from "../language.js";
import { content } from "../store.js";
import { did, titleOf } from "../titles.js";

const SIDE = 76, ACROSS = 132, DOWN = 112; // of a picture, from one to the next

export function Lineage({ item }) {
  const [tree, setTree] = useState(null);
  useEffect(() => {
    get(`/v1/library/${item.id}/lineage`).then((found) => setTree(laidOut(found)), () => setTree(null)); // the rest of the item stays
  }, [item.id]);
  if (!tree || tree.nodes.length < 2) return null;
  return html`<section class="lineage" aria-label=${t("lineage")}><h2>${t("lineage")}</h2>
    <div class="tree"><div style=${{ width: `${tree.width}px`, height: `${tree.height}px` }}>
      <svg width=${tree.width} height=${tree.height} aria-hidden="true">${tree.edges.map(({ from, to }) => html`<path key=${`${from.one.id} ${to.one.id}`} d=${curve(from, to)} />`)}</svg>
      ${tree.nodes.map(({ one, x, y }) => html`<a key=${one.id} href="#library/${one.id}" aria-current=${one.id === item.id ? "true" : null} title=${titleOf(one)}
        style=${{ left: `${x}px`, top: `${y}px` }}><img src=${content(one.id, "thumbnail")} alt=${titleOf(one)} width=${SIDE} height=${SIDE} />
        <span>${did(one)}</span></a>`)}
    </div></div>
  </section>`;
}

const curve = (from, to) => {
  const [x, y, end, down] = [from.x + SIDE, from.y + SIDE / 2, to.x, to.y + SIDE / 2], middle = (x + end) / 2;
  return `M${x} ${y}C${middle} ${y} ${middle} ${down} ${end} ${down}`;
};

/** Places of all relatives: { nodes: [{ one, x, y }], edges, width, height }; each stands right of its parents. */
export function laidOut({ item, ancestors, descendants }) {
  const nodes = new Map([item, ...ancestors, ...descendants].map((one) => [one.id, { one, column: 0, row: 0 }]));
  const edges = [...nodes.values()].flatMap((to) => to.one.parents.filter((id) => nodes.has(id)).map((id) => ({ from: nodes.get(id), to })));
  for (let n = 0; n < nodes.size; n++) {
    let moved = false;
    for (const { from, to } of edges) if (to.column <= from.column) { to.column = from.column + 1; moved = true; }
    if (!moved) break;
  }
  const columns = Map.groupBy(nodes.values(), ({ column }) => column);
  for (const column of [...columns.keys()].sort((a, b) => a - b)) {
    const rowOf = (node) => {
      const rows = edges.filter(({ to }) => to === node).map(({ from }) => from.row);
      return rows.length ? rows.reduce((a, b) => a + b, 0) / rows.length : 0;
    };
    columns.get(column).map((node) => [node, rowOf(node)]).sort(([a, m], [b, n]) => m - n || a.one.created_at - b.one.created_at)
      .forEach(([node], row) => { node.row = row; });
  }
  const all = [...nodes.values()].map((node) => Object.assign(node, { x: node.column * ACROSS, y: node.row * DOWN }));
  return { nodes: all, edges, width: Math.max(...all.map(({ x }) => x)) + SIDE, height: Math.max(...all.map(({ y }) => y)) + DOWN };
}
