/**
 * How settings change: on a copy first, which says whether the change is allowed; then what the copy holds is stored,
 * in one transaction with whatever belongs to it; only then the settings themselves change. So a change that cannot
 * be stored (another PD leads, etcd is away) leaves nothing behind. One change at a time. (pd-rules 11.28)
 */
import { utf8 } from "../base/index.js";
import type { PdConfig } from "./config.js";
import { type PdContext, writeGuarded } from "./context.js";
import type { MetaOperation } from "./meta-store.js";

export interface SettingsEdit {
  /** Why it is refused. Runs on a copy, and once that is stored on the settings: with the same outcome. */
  readonly edit: (config: PdConfig) => string | undefined;
  /** Stored with the settings, which are given as they will be. */
  readonly operations?: (config: PdConfig) => readonly MetaOperation[];
  /** What else changes once all is stored. */
  readonly apply?: () => void;
}

export type SettingsOutcome =
  | { readonly kind: "ok" }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "failed"; readonly error: Error };

export const configOperation = (context: PdContext, config: PdConfig): MetaOperation => ({
  kind: "put",
  key: context.keys.config,
  value: utf8(JSON.stringify(config.toStored())),
});

export class Settings {
  readonly #context: PdContext;
  /** What follows from items that changed, as the default placement rule does. */
  readonly #follow: (config: PdConfig, items: readonly string[]) => readonly MetaOperation[];

  constructor(
    context: PdContext,
    follow: (config: PdConfig, items: readonly string[]) => readonly MetaOperation[] = () => [],
  ) {
    this.#context = context;
    this.#follow = follow;
  }

  /** `prepare` runs when its turn has come; text is the reason why nothing is to be done. */
  change(prepare: () => SettingsEdit | string, callback: (outcome: SettingsOutcome) => void): void {
    const { config } = this.#context;
    config.changes.run((done) => {
      const finish = (outcome: SettingsOutcome): void => {
        done();
        callback(outcome);
      };
      const prepared = prepare();
      if (typeof prepared === "string") return finish({ kind: "refused", reason: prepared });
      const copy = config.copy();
      const items: string[] = [];
      copy.onReplicationChanged = (item) => void items.push(item);
      const reason = prepared.edit(copy);
      if (reason !== undefined) return finish({ kind: "refused", reason });
      const operations = [
        configOperation(this.#context, copy),
        ...this.#follow(copy, items),
        ...(prepared.operations?.(copy) ?? []),
      ];
      writeGuarded(this.#context, operations, (error) => {
        if (error !== undefined) return finish({ kind: "failed", error });
        prepared.edit(config);
        prepared.apply?.();
        finish({ kind: "ok" });
      });
    });
  }

  /** Stores what changed by itself, as the limits of a store that left. */
  save(callback: (error: Error | undefined) => void): void {
    this.change(
      () => ({ edit: () => undefined }),
      (outcome) => callback(outcome.kind === "failed" ? outcome.error : undefined),
    );
  }
}
