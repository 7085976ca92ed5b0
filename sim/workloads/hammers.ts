/**
 * Ids and timestamps asked of PD by all clients, over restarts of PD and jumps of its clock. No id twice; a
 * timestamp is greater than every one whose answer had come before it was asked for. (invariants 25, 26)
 */
import { RaftwerkError, randomBelow } from "../../base/index.js";
import { PdClient, type TsoStream } from "../../pd-client/index.js";
import { PD_ADDRESS, type SimClient } from "../cluster.js";
import { Violation } from "../world.js";
import { loop, type Workload, type WorkloadStage } from "./workload.js";

export class Hammers implements Workload {
  readonly name = "ids and timestamps";
  readonly #stage: WorkloadStage;
  readonly #ids = new Map<number, string>();
  readonly #streams = new Map<SimClient, { pd: PdClient; tso: TsoStream | undefined }>();
  readonly #timestampsGiven = new Set<bigint>();
  #greatest = 0n;
  given = 0;

  constructor(stage: WorkloadStage) {
    this.#stage = stage;
  }

  start(): void {
    for (const client of this.#stage.cluster.clients) {
      const door = this.#stage.cluster.network.door(client.node, client.env);
      const pd = new PdClient(client.env, door, { endpoints: [PD_ADDRESS] });
      pd.connect((error) => {
        if (error !== undefined) this.#stage.failed++;
      });
      this.#streams.set(client, { pd, tso: undefined });
      loop(this.#stage, client, 250, () => this.#id(client));
      loop(this.#stage, client, 150, () => this.#timestamps(client));
    }
  }

  /** An id that something else of PD gave out, such as a region's. */
  note(id: number, what: string): void {
    const owner = this.#ids.get(id);
    if (owner !== undefined && owner !== what) {
      throw new Violation("26 ids", `id ${id} was given to ${owner} and to ${what}`);
    }
    this.#ids.set(id, what);
  }

  #id(client: SimClient): Promise<void> {
    const { pd } = this.#streams.get(client) as { pd: PdClient };
    return this.#settled((done) =>
      pd.allocId((error, id) => {
        if (error === undefined && id !== undefined) this.note(id, `request ${this.given++}`);
        done(error);
      }),
    );
  }

  /** Some at once, which travel as one question: what is given for them must not overlap with anything either. */
  async #timestamps(client: SimClient): Promise<void> {
    const count = 1 + randomBelow(this.#stage.random, 4);
    await Promise.all(Array.from({ length: count }, () => this.#timestamp(client)));
  }

  #timestamp(client: SimClient): Promise<void> {
    const link = this.#streams.get(client) as { pd: PdClient; tso: TsoStream | undefined };
    const floor = this.#greatest;
    return this.#settled((done) => {
      link.tso ??= link.pd.openTso();
      link.tso.get((error, timestamp) => {
        if (error !== undefined || timestamp === undefined) return done(error);
        const isLate = timestamp <= floor;
        if (isLate || this.#timestampsGiven.has(timestamp)) {
          const wrong = isLate ? `after ${floor} had been answered` : "twice";
          return done(new Violation("25 timestamps", `${timestamp} was given ${wrong}`));
        }
        this.#timestampsGiven.add(timestamp);
        if (timestamp > this.#greatest) this.#greatest = timestamp;
        this.given++;
        done(undefined);
      });
    });
  }

  #settled(run: (done: (error: Error | undefined) => void) => void): Promise<void> {
    return new Promise((resolve) => {
      try {
        run((error) => {
          if (error === undefined) this.#stage.succeeded++;
          else if (error instanceof RaftwerkError) this.#stage.failed++;
          else if (error instanceof Violation) this.#stage.world.fail(error);
          else this.#stage.failed++;
          resolve();
        });
      } catch (error) {
        this.#stage.world.fail(error as Error);
        resolve();
      }
    });
  }

  async check(): Promise<void> {
    await Promise.resolve();
    if (this.given === 0) throw new Violation("33 liveness", "PD gave out no id and no timestamp");
  }
}
