/** Snapshots on their way: chunks, damage, refusals, aborts, and a load that a crash interrupts at each step. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DATA_KEY_SPACES, type Engine, type KeySpace, type Row, utf8 } from "../base/index.js";
import { ManualEnv } from "../base/test/manual-env.js";
import { MemoryEngine } from "../engine/memory.js";
import { raft_serverpb, type RpcStatus } from "../proto/index.js";
import type { RpcNetwork, ServerCallListener } from "../proto/rpc.js";
import { dataKey, snapshotChunkKey, snapshotRegionRange } from "../region/keys.js";
import { readRegionState } from "../region/local-state.js";
import { dump, regionOf } from "../region/test/fixtures.js";
import { DEFAULT_STORE_CONFIG } from "./config.js";
import { crc32, encodeChunk, isChunkIntact, loadChunk, SYNC_BYTES } from "./snapshot-codec.js";
import { loadSnapshot } from "./snapshot-loader.js";
import { SnapshotReceiver } from "./snapshot-receiver.js";
import { SnapshotSender } from "./snapshot-sender.js";

const rowsOf = (...keys: string[]): Row[] =>
  keys.map((key) => ({ key: dataKey(utf8(key)), value: utf8(`=${key}`) }));

describe("a chunk", () => {
  const row = fc.record({ key: fc.uint8Array({ minLength: 1, maxLength: 40 }), value: fc.uint8Array() });

  test("comes back as it was", () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 20 }), fc.nat(2), (rows, space) => {
        const chunk = encodeChunk(space, rows);
        expect(isChunkIntact(chunk)).toBe(true);
        const loaded: [KeySpace, Uint8Array, Uint8Array][] = [];
        const batch = { put: (...all: [KeySpace, Uint8Array, Uint8Array]) => loaded.push(all) };
        const bytes = loadChunk(chunk, batch as never);
        expect(loaded).toEqual(rows.map(({ key, value }) => [DATA_KEY_SPACES[space], key, value]));
        expect(bytes).toBe(rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0));
      }),
    );
  });

  test("of which any one byte was changed is known as damaged", () => {
    const chunk = encodeChunk(0, rowsOf("a", "b"));
    for (let i = 0; i < chunk.length; i++) {
      const damaged = chunk.slice();
      damaged[i] = (damaged[i] as number) ^ 0x10;
      expect(isChunkIntact(damaged)).toBe(false);
    }
    expect(isChunkIntact(chunk.subarray(0, chunk.length - 1))).toBe(false);
    expect(isChunkIntact(chunk.subarray(0, 3))).toBe(false);
    expect(isChunkIntact(new Uint8Array(0))).toBe(false);
  });

  test("has the checksum that everybody calls CRC-32", () => {
    expect(crc32(utf8("123456789"))).toBe(0xcbf43926);
  });
});

const snapRows = (engine: Engine): number => {
  let count = 0;
  engine.scan("snap", { start: new Uint8Array(0), end: undefined, limit: 10_000 }, (_error, result) => {
    count = result.rows.length;
  });
  return count;
};

describe("the receiver", () => {
  interface Session {
    listener: ServerCallListener<raft_serverpb.SnapshotChunk>;
    ended: RpcStatus | undefined;
    answered: boolean;
  }
  class Fixture {
    readonly engine = new MemoryEngine();
    readonly delivered: raft_serverpb.RaftMessage[] = [];
    refusal: string | undefined;
    readonly env = new ManualEnv();
    readonly receiver = new SnapshotReceiver({
      env: this.env,
      storeId: 1,
      engine: this.engine,
      config: { ...DEFAULT_STORE_CONFIG, snapshotReceivesMax: 2 },
      refuseSnapshot: () => this.refusal,
      deliver: (message) => this.delivered.push(message),
    });

    open(): Session {
      const session = { ended: undefined, answered: false } as unknown as Session;
      session.listener = this.receiver.handler({
        metadata: {},
        peer: "store-2",
        pendingBytes: 0,
        send: () => {
          session.answered = true;
        },
        end: (status) => {
          session.ended = status ?? { code: 0, message: "" };
        },
      });
      return session;
    }
    begin(regionId = 2, store = 1): Session {
      const session = this.open();
      session.listener.onMessage(head(regionId, store));
      return session;
    }
  }
  const head = (regionId: number, store: number): raft_serverpb.SnapshotChunk =>
    raft_serverpb.SnapshotChunk.decode(
      new Uint8Array(
        raft_serverpb.SnapshotChunk.encode({
          message: {
            regionId,
            toPeer: { id: 21, storeId: store },
            message: { msgType: 7, snapshot: { metadata: { index: 40, term: 8 } } },
          },
        }).finish(),
      ),
    );
  const data = (bytes: Uint8Array): raft_serverpb.SnapshotChunk => ({ message: null, data: bytes }) as never;
  const good = encodeChunk(0, rowsOf("a", "b"));

  test("parks the chunks, closes them by an empty one, and only then lets the message in", () => {
    const fixture = new Fixture();
    const session = fixture.begin();
    session.listener.onMessage(data(good));
    session.listener.onMessage(data(good));
    expect([fixture.delivered.length, snapRows(fixture.engine)]).toEqual([0, 2]);
    session.listener.onHalfClose();
    expect(fixture.delivered).toMatchObject([{ regionId: 2 }]);
    expect(fixture.engine.get("snap", snapshotChunkKey(2, 8, 40, 2))).toEqual(new Uint8Array(0));
    expect([session.answered, session.ended?.code, fixture.receiver.receiving]).toEqual([true, 0, 0]);
  });

  test("syncs what it parks every few MiB, so that the end has little to sync", () => {
    const fixture = new Fixture();
    const synced: boolean[] = [];
    const write = fixture.engine.write.bind(fixture.engine);
    fixture.engine.write = (batch, options, callback) => {
      synced.push(options.sync);
      write(batch, options, callback);
    };
    const session = fixture.begin();
    const large = encodeChunk(0, [{ key: utf8("k"), value: new Uint8Array(SYNC_BYTES / 2) }]);
    for (let i = 0; i < 4; i++) session.listener.onMessage(data(large));
    session.listener.onHalfClose();
    expect(synced).toEqual([false, true, false, true, true]);
  });

  test("ends a stream with a damaged chunk and keeps nothing of it [test_retry_corrupted_snapshot]", () => {
    const fixture = new Fixture();
    const session = fixture.begin();
    session.listener.onMessage(data(good));
    const damaged = good.slice();
    damaged[9] = 0xff;
    session.listener.onMessage(data(damaged));
    expect(session.ended?.message).toContain("damaged");
    session.listener.onHalfClose();
    expect([fixture.delivered.length, snapRows(fixture.engine), fixture.receiver.receiving]).toEqual([
      0, 0, 0,
    ]);
  });

  test("gives the place of a stream that has gone silent to others, and keeps nothing of it", () => {
    const fixture = new Fixture();
    const session = fixture.begin();
    fixture.env.advance(DEFAULT_STORE_CONFIG.snapshotIdleMs);
    session.listener.onMessage(data(good));
    fixture.env.advance(DEFAULT_STORE_CONFIG.snapshotIdleMs);
    expect(session.ended).toBeUndefined();
    fixture.env.advance(DEFAULT_STORE_CONFIG.snapshotIdleMs);
    expect(session.ended?.message).toContain("no chunk came");
    expect([snapRows(fixture.engine), fixture.receiver.receiving]).toEqual([0, 0]);
  });

  test("forgets a stream that was given up, and takes the next", () => {
    const fixture = new Fixture();
    const session = fixture.begin();
    session.listener.onMessage(data(good));
    session.listener.onCancel();
    expect([snapRows(fixture.engine), fixture.receiver.receiving]).toEqual([0, 0]);
    const next = fixture.begin();
    next.listener.onMessage(data(good));
    next.listener.onHalfClose();
    expect(fixture.delivered).toHaveLength(1);
  });

  test("clears what an earlier life left of the region's chunks", () => {
    const fixture = new Fixture();
    const batch = fixture.engine.batch();
    batch.put("snap", snapshotChunkKey(2, 8, 40, 7), good);
    batch.put("snap", snapshotChunkKey(3, 8, 40, 0), good);
    fixture.engine.write(batch, { sync: true }, () => {});
    fixture.begin();
    const [start, end] = snapshotRegionRange(2);
    fixture.engine.scan("snap", { start, end, limit: 10 }, (_error, result) =>
      expect(result.rows).toEqual([]),
    );
    expect(snapRows(fixture.engine)).toBe(1);
  });

  test("refuses another store's, a second one of the region, too many, and streams without a message", () => {
    const fixture = new Fixture();
    expect(fixture.begin(2, 9).ended?.message).toContain("not 9");
    fixture.begin(2);
    expect(fixture.begin(2).ended?.message).toContain("already");
    fixture.begin(3);
    expect(fixture.begin(4).ended?.message).toContain("too many");
    const empty = fixture.open();
    empty.listener.onHalfClose();
    expect(empty.ended?.code).toBe(3);
    const headless = fixture.open();
    headless.listener.onMessage(data(good));
    expect(headless.ended?.message).toContain("first chunk");
  });

  test("refuses while the region loads another snapshot, with nothing deleted", () => {
    const fixture = new Fixture();
    const batch = fixture.engine.batch();
    batch.put("snap", snapshotChunkKey(2, 8, 40, 0), good);
    fixture.engine.write(batch, { sync: true }, () => {});
    fixture.refusal = "the region is loading a snapshot";
    expect(fixture.begin().ended?.message).toContain("loading");
    expect(snapRows(fixture.engine)).toBe(1);
  });
});

describe("the sender", () => {
  function sent(bytesPerSecond: number, ms: number): { readonly bytes: number; readonly isDone: boolean } {
    const env = new ManualEnv();
    const engine = new MemoryEngine();
    const batch = engine.batch();
    for (let i = 0; i < 100; i++) batch.put("default", dataKey(utf8(`k${i}`)), new Uint8Array(10_000));
    engine.write(batch, { sync: false }, () => {});
    let bytes = 0;
    let isDone = false;
    const call = {
      pendingBytes: 0,
      send: (chunk: { readonly data?: Uint8Array | null }) => {
        bytes += chunk.data?.length ?? 0;
      },
      halfClose: () => {
        isDone = true;
      },
      cancel() {},
    };
    const network = { channel: () => ({ open: () => call }) } as unknown as RpcNetwork;
    const config = {
      ...DEFAULT_STORE_CONFIG,
      snapshotChunkBytesMax: 20_000,
      snapshotBytesPerSecondMax: bytesPerSecond,
    };
    const sender = new SnapshotSender(env, network, config, () => ({}));
    const task = {
      region: regionOf(2, 3),
      toPeerId: 22,
      address: "a",
      message: {},
      snapshot: engine.snapshot(),
      done() {},
    };
    sender.send(task);
    env.advance(ms);
    return { bytes, isDone };
  }

  test("keeps to its pace", () => {
    const half = sent(1_000_000, 500);
    expect(half.isDone).toBe(false);
    expect(half.bytes).toBeGreaterThan(450_000);
    expect(half.bytes).toBeLessThan(560_000);
    expect(sent(1_000_000, 1_100)).toMatchObject({ isDone: true });
  });

  test("sends as fast as the connection takes it where there is no pace", () => {
    expect(sent(0, 0).isDone).toBe(true);
  });
});

describe("the load", () => {
  const region = regionOf(2, 3, "b", "m");
  const previous = regionOf(2, 3, "b", "z");

  function staged(): MemoryEngine {
    const engine = new MemoryEngine();
    const batch = engine.batch();
    for (const key of ["a", "b-old", "n-old", "z"]) batch.put("default", dataKey(utf8(key)), utf8("old"));
    const chunks = [rowsOf("b", "c"), rowsOf("d"), rowsOf("e", "f")];
    chunks.forEach((rows, i) => batch.put("snap", snapshotChunkKey(2, 8, 40, i), encodeChunk(0, rows)));
    batch.put("snap", snapshotChunkKey(2, 8, 40, chunks.length), new Uint8Array(0));
    engine.write(batch, { sync: true }, () => {});
    return engine;
  }
  const load = (engine: Engine, env: ManualEnv, done: (bytes: number) => void, cancelled = false): void =>
    loadSnapshot(env, engine, { region, previous, term: 8, index: 40, isCancelled: () => cancelled, done });
  const keys = (engine: Engine): string[] => dump(engine, "default").map(([key]) => key);
  const wanted = ["za", "zb", "zc", "zd", "ze", "zf", "zz"];

  test("clears the new and the old range, fills the new, makes the region normal, drops the chunks", () => {
    const engine = staged();
    const env = new ManualEnv();
    let bytes = 0;
    load(engine, env, (loaded) => {
      bytes = loaded;
    });
    env.settle();
    expect(keys(engine)).toEqual(wanted);
    expect(readRegionState(engine, 2)?.state).toBe("normal");
    expect([snapRows(engine), bytes]).toEqual([0, 5 * 4]);
  });

  test("interrupted by a crash after any step is done again from the beginning, to the same end", () => {
    for (let writes = 0; writes < 5; writes++) {
      const engine = staged();
      let left = writes;
      const write = engine.write.bind(engine);
      const crashed = new ManualEnv();
      engine.write = (batch, options, callback) => {
        if (left-- > 0) write(batch, options, callback);
      };
      load(engine, crashed, () => {});
      crashed.settle();
      engine.write = write;
      const env = new ManualEnv();
      if (readRegionState(engine, 2)?.state !== "normal") load(engine, env, () => {});
      env.settle();
      expect(keys(engine)).toEqual(wanted);
      expect(readRegionState(engine, 2)?.state).toBe("normal");
    }
  });

  test("of a peer that was destroyed meanwhile stops and tells nobody", () => {
    const engine = staged();
    const env = new ManualEnv();
    let told = false;
    load(
      engine,
      env,
      () => {
        told = true;
      },
      true,
    );
    env.settle();
    expect([told, readRegionState(engine, 2)]).toEqual([false, undefined]);
  });

  test("of chunks that are damaged or missing on disk stops the store", () => {
    const engine = staged();
    engine.deleteRange("snap", snapshotChunkKey(2, 8, 40, 1), snapshotChunkKey(2, 8, 41, 0), () => {});
    const env = new ManualEnv();
    load(engine, env, () => {});
    expect(() => env.settle()).toThrow("missing on disk");
  });

  test("without the middle chunk must not pass for complete", () => {
    const engine = staged();
    engine.deleteRange("snap", snapshotChunkKey(2, 8, 40, 1), snapshotChunkKey(2, 8, 40, 2), () => {});
    const env = new ManualEnv();
    load(engine, env, () => {});
    expect(() => env.settle()).toThrow("missing on disk");
  });
});
