/**
 * `raftwerk ctl`: an administrator's words to PD over its HTTP API, so that it also works with a PD of TiKV. Tables
 * for people, PD's own JSON with --json for scripts.
 */
import type { Command } from "commander";
import { registerClusterWords } from "./pd-ctl-cluster.js";
import { registerExplainWords } from "./pd-ctl-explain.js";
import { registerHotWords } from "./pd-ctl-hot.js";
import { registerLabelWords } from "./pd-ctl-labels.js";
import { registerMemberWords } from "./pd-ctl-members.js";
import { registerOperatorWords, registerSchedulerWords } from "./pd-ctl-operators.js";
import { registerPdMetadata } from "./pd-metadata-command.js";
import { registerRegionWords } from "./pd-ctl-regions.js";
import { registerUnsafeWords } from "./pd-ctl-unsafe.js";
import { registerStoreWords } from "./pd-ctl-stores.js";

export function registerPdCtl(ctl: Command): void {
  ctl
    .description("look at a cluster and administer it through PD")
    .option("-u, --pd <url>", "address of PD", "http://127.0.0.1:2379")
    .option("--json", "print what PD answered");
  registerStoreWords(ctl);
  registerLabelWords(ctl);
  registerRegionWords(ctl);
  registerOperatorWords(ctl);
  registerSchedulerWords(ctl);
  registerClusterWords(ctl);
  registerMemberWords(ctl);
  registerHotWords(ctl);
  registerUnsafeWords(ctl);
  registerPdMetadata(ctl);
  registerExplainWords(ctl);
}
