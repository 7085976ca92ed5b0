/** The `raftwerk` command. */
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { registerBench } from "../bench/index.js";
import { registerKv } from "./kv-command.js";
import { registerPdCtl } from "./pd-ctl.js";
import { registerPd } from "./pd-command.js";
import { registerPlayground } from "./playground-command.js";
import { exitWithError } from "./process.js";
import { registerStore } from "./store-command.js";
import { RAFTWERK_VERSION, TIKV_VERSION } from "./version.js";

export async function main(argv: readonly string[], entry: string): Promise<void> {
  const program = new Command("raftwerk");
  program
    .description("a multi-Raft sharded key-value engine that speaks TiKV's protocol")
    .version(RAFTWERK_VERSION)
    .showHelpAfterError();
  registerPlayground(program, entry);
  registerPd(program);
  registerStore(program, entry);
  registerPdCtl(program.command("ctl"));
  registerKv(program);
  registerBench(program);
  program
    .command("version")
    .description("print versions")
    .action(() => {
      process.stdout.write(
        `raftwerk ${RAFTWERK_VERSION}, behaving as TiKV ${TIKV_VERSION}, node ${process.version}\n`,
      );
    });
  await program.parseAsync([...argv]).catch(exitWithError);
}

/** For the launcher in bin/. */
export const entryPath = (url: string): string => fileURLToPath(url);
