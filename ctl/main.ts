/** The `raftwerk` command. Only the code of the word that was asked for is loaded: that is most of a start. */
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { exitWithError } from "./process.js";
import { RAFTWERK_VERSION, TIKV_VERSION } from "./version.js";

type Register = (program: Command, entry: string) => void;

/** In the order in which help shows them. */
const WORDS: readonly (readonly [word: string, load: () => Promise<Register>])[] = [
  ["playground", async () => (await import("./playground-command.js")).registerPlayground],
  ["pd", async () => (await import("./pd-command.js")).registerPd],
  ["store", async () => (await import("./store-command.js")).registerStore],
  [
    "ctl",
    async () => {
      const { registerPdCtl } = await import("./pd-ctl.js");
      return (program) => registerPdCtl(program.command("ctl"));
    },
  ],
  ["kv", async () => (await import("./kv-command.js")).registerKv],
  ["group", async () => (await import("./group-command.js")).registerGroup],
  ["bench", async () => (await import("../bench/index.js")).registerBench],
  ["version", async () => registerVersion],
];

export async function main(argv: readonly string[], entry: string): Promise<void> {
  const program = new Command("raftwerk");
  program
    .description("a multi-Raft sharded key-value engine that speaks TiKV's protocol")
    .version(RAFTWERK_VERSION)
    .showHelpAfterError();
  const asked = WORDS.filter(([word]) => word === argv[2]);
  for (const [, load] of asked.length > 0 ? asked : WORDS) (await load())(program, entry);
  await program.parseAsync([...argv]).catch(exitWithError);
}

function registerVersion(program: Command): void {
  program
    .command("version")
    .description("print versions")
    .action(() => {
      process.stdout.write(
        `raftwerk ${RAFTWERK_VERSION}, behaving as TiKV ${TIKV_VERSION}, node ${process.version}\n`,
      );
    });
}

/** For the launcher in bin/. */
export const entryPath = (url: string): string => fileURLToPath(url);
