package dev.raftwerk.clients;

import static dev.raftwerk.clients.Checks.bytes;
import static dev.raftwerk.clients.Checks.same;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.tikv.common.TiConfiguration;
import org.tikv.common.TiSession;
import org.tikv.common.exception.RawCASConflictException;
import org.tikv.common.util.ScanOption;
import org.tikv.kvproto.Kvrpcpb.KvPair;
import org.tikv.raw.RawKVClient;
import org.tikv.shade.com.google.protobuf.ByteString;

/**
 * Checks a cluster through TiKV's official Java client: every operation of the raw API, over regions that split and
 * move meanwhile. Prints one line per check and ends with "N passed, M failed".
 */
public final class RawKv {
  private final Checks c;
  private final RawKVClient client;
  private final RawKVClient atomic;

  private RawKv(Checks checks, RawKVClient atomic) {
    this.c = checks;
    this.client = checks.client;
    this.atomic = atomic;
  }

  public static void main(String[] args) throws Exception {
    String pd = args.length == 2 && args[0].equals("-pd") ? args[1] : "127.0.0.1:2379";
    boolean ok;
    TiConfiguration swaps = configuration(pd);
    swaps.setEnableAtomicForCAS(true);
    try (TiSession plain = TiSession.create(configuration(pd));
        TiSession swapping = TiSession.create(swaps)) {
      Checks checks = new Checks(plain.createRawClient(), pd);
      RawKv program = new RawKv(checks, swapping.createRawClient());
      program.singleKeys();
      program.batches();
      program.scans();
      program.swaps();
      program.regions();
      ok = checks.finish();
    }
    // Threads of the client would keep the program alive.
    System.exit(ok ? 0 : 1);
  }

  /** The client gives a call 200 ms and all tries of it 3 s: too little on a small machine with much to do. */
  private static TiConfiguration configuration(String pd) {
    TiConfiguration configuration = TiConfiguration.createRawDefault(pd);
    configuration.setTimeout(5_000);
    configuration.setRawKVReadTimeoutInMS(20_000);
    configuration.setRawKVWriteTimeoutInMS(20_000);
    configuration.setRawKVBatchReadTimeoutInMS(20_000);
    configuration.setRawKVBatchWriteTimeoutInMS(20_000);
    configuration.setRawKVScanTimeoutInMS(20_000);
    return configuration;
  }

  private ByteString get(String name) {
    return client.get(c.key(name)).orElse(null);
  }

  private void singleKeys() {
    c.check("put and get", () -> {
      client.put(c.key("a"), bytes("value"));
      same(get("a"), bytes("value"));
    });
    c.check("a value is overwritten", () -> {
      for (String value : List.of("1", "2", "3")) {
        client.put(c.key("a"), bytes(value));
        same(get("a"), bytes(value));
      }
    });
    c.check("an absent key gives nothing", () -> same(client.get(c.key("none")), Optional.empty()));
    c.check("a deleted key is gone", () -> {
      client.put(c.key("a"), bytes("value"));
      client.delete(c.key("a"));
      same(get("a"), null);
    });
    c.check("an absent key can be deleted", () -> client.delete(c.key("none")));
    c.check("binary keys and values", () -> {
      byte[] all = new byte[256];
      for (int i = 0; i < all.length; i++) all[i] = (byte) (255 - i);
      ByteString binary = ByteString.copyFrom(all);
      client.put(c.key("").concat(binary), binary);
      same(client.get(c.key("").concat(binary)), Optional.of(binary));
    });
    c.check("a value of 1 MiB", () -> {
      ByteString value = ByteString.copyFrom(new byte[1 << 20]);
      client.put(c.key("large"), value);
      same(get("large"), value);
    });
    c.check("a key that lives for a while tells how long", () -> {
      client.put(c.key("a"), bytes("value"), 100);
      long left = client.getKeyTTL(c.key("a")).orElse(-1L);
      if (left < 90 || left > 100) throw new AssertionError("lives for " + left + " s");
    });
    c.check("a key without an end has none", () -> {
      client.put(c.key("a"), bytes("value"));
      same(client.getKeyTTL(c.key("a")), Optional.of(0L));
      same(client.getKeyTTL(c.key("none")), Optional.empty());
    });
    c.check("a key dies at its time", () -> {
      client.put(c.key("a"), bytes("value"), 1);
      same(get("a"), bytes("value"));
      Checks.eventually("its death", () -> get("a") == null);
    });
  }

  private void batches() {
    c.check("batch put and get", () -> {
      Map<ByteString, ByteString> pairs = new HashMap<>();
      for (String name : List.of("a", "b", "c")) pairs.put(c.key(name), bytes(name));
      client.batchPut(pairs);
      List<KvPair> got = client.batchGet(keys("a", "none", "b"));
      same(got.size(), 2);
      for (KvPair pair : got) same(pair.getValue(), pairs.get(pair.getKey()));
    });
    c.check("batch delete", () -> {
      c.putLetters("abc");
      client.batchDelete(keys("a", "c", "none"));
      same(c.names(client.scan(c.key("a"), c.key("z"))), "b");
    });
    c.check("a batch of 3000 pairs", () -> {
      List<ByteString> keys = fill(3000);
      same(client.batchGet(keys).size(), 3000);
    });
  }

  /** A list that the client can sort in place, as it does. */
  private List<ByteString> keys(String... names) {
    List<ByteString> keys = new ArrayList<>();
    for (String name : names) keys.add(c.key(name));
    return keys;
  }

  private List<ByteString> fill(int count) {
    Map<ByteString, ByteString> pairs = new HashMap<>();
    List<ByteString> keys = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      keys.add(c.key(String.format("%05d", i)));
      pairs.put(keys.get(i), bytes("value " + i));
    }
    client.batchPut(pairs);
    return keys;
  }

  private void scans() {
    c.check("scan is in order", () -> {
      c.putLetters("badc");
      same(c.names(client.scan(c.key("a"), c.key("z"))), "abcd");
    });
    c.check("scan stops at its limit and before its end", () -> {
      c.putLetters("abcd");
      same(c.names(client.scan(c.key("a"), c.key("z"), 2)), "ab");
      same(c.names(client.scan(c.key("b"), c.key("d"))), "bc");
    });
    c.check("scan of keys only", () -> {
      c.putLetters("ab");
      for (KvPair pair : client.scan(c.key("a"), c.key("z"), 10, true)) same(pair.getValue(), bytes(""));
      same(c.names(client.scan(c.key("a"), c.key("z"), 10, true)), "ab");
    });
    c.check("scan of a prefix", () -> {
      for (String name : List.of("a1", "a2", "b1")) client.put(c.key(name), bytes(name));
      same(c.names(client.scanPrefix(c.key("a"))), "a1a2");
    });
    c.check("scan of nothing", () -> same(client.scan(c.key("a"), c.key("z")).size(), 0));
    c.check("batch scan", () -> {
      c.putLetters("abcdef");
      List<ScanOption> ranges = List.of(range("a", "c"), range("d", "z"), range("x", "z"));
      List<String> got = new ArrayList<>();
      for (List<KvPair> pairs : client.batchScan(ranges)) got.add(c.names(pairs));
      same(got, List.of("ab", "de", ""));
    });
    c.check("delete range", () -> {
      c.putLetters("abcde");
      client.deleteRange(c.key("b"), c.key("d"));
      same(c.names(client.scan(c.key("a"), c.key("z"))), "ade");
    });
    c.check("delete prefix", () -> {
      for (String name : List.of("a1", "a2", "b1")) client.put(c.key(name), bytes(name));
      client.deletePrefix(c.key("a"));
      same(c.names(client.scanPrefix(c.key(""))), "b1");
    });
  }

  private ScanOption range(String start, String end) {
    return ScanOption.newBuilder().setStartKey(c.key(start)).setEndKey(c.key(end)).setLimit(2).build();
  }

  private void swaps() {
    c.check("put if absent", () -> {
      same(atomic.putIfAbsent(c.key("a"), bytes("1")), Optional.empty());
      same(atomic.putIfAbsent(c.key("a"), bytes("2")), Optional.of(bytes("1")));
      same(get("a"), bytes("1"));
    });
    c.check("compare and set that matches", () -> {
      atomic.compareAndSet(c.key("a"), Optional.empty(), bytes("1"));
      atomic.compareAndSet(c.key("a"), Optional.of(bytes("1")), bytes("2"));
      same(get("a"), bytes("2"));
    });
    c.check("compare and set that differs", () -> {
      atomic.put(c.key("a"), bytes("1"));
      try {
        atomic.compareAndSet(c.key("a"), Optional.of(bytes("0")), bytes("2"));
        throw new AssertionError("it was set");
      } catch (RawCASConflictException conflict) {
        same(conflict.getPrevValue(), Optional.of(bytes("1")));
      }
      same(get("a"), bytes("1"));
    });
    c.check("counting with compare and set loses nothing", this::count);
  }

  private void count() throws Exception {
    atomic.put(c.key("n"), bytes("0"));
    AtomicReference<Exception> wrong = new AtomicReference<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) threads.add(new Thread(() -> {
      try {
        for (int added = 0; added < 25; ) added += increment() ? 1 : 0;
      } catch (Exception error) {
        wrong.set(error);
      }
    }));
    for (Thread thread : threads) thread.start();
    for (Thread thread : threads) thread.join(60_000);
    if (wrong.get() != null) throw wrong.get();
    same(get("n"), bytes("100"));
  }

  private boolean increment() {
    ByteString now = atomic.get(c.key("n")).orElseThrow();
    try {
      ByteString next = bytes(String.valueOf(Integer.parseInt(now.toStringUtf8()) + 1));
      atomic.compareAndSet(c.key("n"), Optional.of(now), next);
      return true;
    } catch (RawCASConflictException conflict) {
      return false;
    }
  }

  private void regions() {
    c.check("batches, scans and delete range over four regions", () -> {
      List<ByteString> keys = fill(100);
      for (int at : List.of(25, 50, 75)) c.split(keys.get(at));
      same(client.batchGet(keys).size(), 100);
      same(client.scan(keys.get(10), keys.get(90)).size(), 80);
      same(client.scan(keys.get(20), c.key("z"), 40).size(), 40);
      client.deleteRange(keys.get(10), keys.get(90));
      same(client.scan(c.key(""), c.key("z")).size(), 20);
      client.batchDelete(keys);
      same(client.scanPrefix(c.key("")), Collections.emptyList());
    });
    c.check("a region splits under the client", () -> {
      List<ByteString> keys = fill(100);
      c.split(keys.get(50));
      for (ByteString key : keys) client.put(key, bytes("after"));
      for (KvPair pair : client.scanPrefix(c.key(""))) same(pair.getValue(), bytes("after"));
      same(client.scanPrefix(c.key("")).size(), 100);
    });
    c.check("leaders move under a writer", () -> {
      AtomicBoolean done = new AtomicBoolean();
      AtomicReference<Throwable> wrong = new AtomicReference<>();
      AtomicInteger writes = new AtomicInteger();
      Thread writer = new Thread(() -> {
        try {
          while (!done.get()) {
            ByteString value = bytes("" + writes.get());
            client.put(c.key("a"), value);
            same(get("a"), value);
            writes.incrementAndGet();
          }
        } catch (Throwable error) {
          wrong.set(error);
        }
      });
      writer.start();
      try {
        c.moveLeader(c.key("a"));
        Checks.eventually("20 writes", () -> writes.get() >= 20 || wrong.get() != null);
      } finally {
        done.set(true);
        writer.join(60_000);
      }
      if (wrong.get() != null) throw new AssertionError(wrong.get().toString());
    });
  }
}
