/** `ctl label`: labels of stores, and how far apart they keep replicas. */
import type { Command } from "commander";
import { isolationLevel } from "../pd/index.js";
import {
  asJson,
  asList,
  CtlError,
  type Json,
  onWord,
  type PdHttp,
  print,
  show,
  table,
} from "./pd-ctl-output.js";
import { regionPages } from "./pd-ctl-regions.js";
import { storeTable } from "./pd-ctl-stores.js";

const NO_LEVEL = "none";

export function registerLabelWords(ctl: Command): void {
  const label = ctl.command("label").description("labels of stores");
  onWord(label, async (http) => {
    show(http, await http.get("/labels"), (parsed) =>
      table(
        ["LABEL", "VALUE"],
        asList(parsed).map(({ key, value }) => [key, value]),
      ),
    );
  });
  const stores = label
    .command("store")
    .description("stores with a label")
    .argument("<name>")
    .argument("[value]");
  onWord(stores, async (http, [name, value]) => {
    const query = new URLSearchParams({ name: name as string, ...(value === undefined ? {} : { value }) });
    const answer = await http.get(`/labels/stores?${query.toString()}`);
    show(http, answer, (parsed) => storeTable(asList(asJson(parsed)["stores"])));
  });
  const isolation = label
    .command("isolation")
    .description("how many regions have their replicas apart at which label")
    .argument("[label]", "the ids of the regions at this one; none: those that are nowhere apart");
  onWord(isolation, async (http, [level]) => {
    const byLevel = await levels(http);
    if (level === undefined) {
      const counts = [...byLevel].map(([name, ids]) => [name, ids.length] as const);
      return print(
        http.options.json
          ? JSON.stringify(Object.fromEntries(counts))
          : table(["APART AT", "REGIONS"], counts),
      );
    }
    const ids = byLevel.get(level);
    if (ids === undefined) throw new CtlError(`${level} is none of ${[...byLevel.keys()].join(", ")}`);
    print(http.options.json ? JSON.stringify(ids) : ids.length === 0 ? "no regions" : ids.join("\n"));
  });
}

/** Ids of regions by the label at which they are apart, in the order of the labels. */
async function levels(http: PdHttp): Promise<Map<string, number[]>> {
  const [settings, answer] = await Promise.all([http.get("/config/replicate"), http.get("/stores")]);
  const words = asJson(settings.parsed)["location-labels"] as string;
  const locationLabels = words.split(",").filter((name) => name !== "");
  const labels = new Map<unknown, ReadonlyMap<string, string>>();
  for (const { store } of asList(asJson(answer.parsed)["stores"])) {
    const { id, labels: list } = asJson(store);
    labels.set(id, new Map(asList(list).map(({ key, value }) => [String(key), String(value)])));
  }
  const byLevel = new Map<string, number[]>([...locationLabels, NO_LEVEL].map((name) => [name, []]));
  for await (const page of regionPages(http)) {
    for (const region of page) {
      const stores = asList(region["peers"]).map((peer: Json) => ({
        label: (key: string) => labels.get(peer["store_id"])?.get(key) ?? "",
      }));
      byLevel.get(isolationLevel(locationLabels, stores))?.push(Number(region["id"]));
    }
  }
  return byLevel;
}
