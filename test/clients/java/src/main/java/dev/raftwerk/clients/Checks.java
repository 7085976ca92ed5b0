package dev.raftwerk.clients;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.tikv.kvproto.Kvrpcpb.KvPair;
import org.tikv.raw.RawKVClient;
import org.tikv.shade.com.google.protobuf.ByteString;

/** Runs named checks, each with keys of its own, counts them, and gives PD orders. */
final class Checks {
  interface Body {
    void run() throws Exception;
  }

  private static final Pattern ID = Pattern.compile("\"id\":\\s*(\\d+)");
  private static final Pattern STORE = Pattern.compile("\"store_id\":\\s*(\\d+)");
  private static final Pattern LEADER =
      Pattern.compile("\"leader\":\\s*\\{[^}]*\"store_id\":\\s*(\\d+)");
  private static final Pattern START = Pattern.compile("\"start_key\":\\s*\"([0-9A-F]*)\"");

  private final HttpClient http = HttpClient.newHttpClient();
  private final String pd;
  final RawKVClient client;
  private String prefix = "";
  private int passed;
  private int failed;

  Checks(RawKVClient client, String pd) {
    this.client = client;
    this.pd = pd;
  }

  void check(String name, Body body) {
    prefix = "check/java/" + name + "/";
    try {
      // What an earlier run left would fail checks of absent keys.
      client.deletePrefix(key(""));
      body.run();
    } catch (Exception | AssertionError error) {
      failed++;
      System.out.println("FAIL " + name + ": " + error.toString().replace('\n', ' '));
      return;
    }
    passed++;
    System.out.println("ok   " + name);
  }

  /** Prints the counts; true when nothing failed. */
  boolean finish() {
    System.out.println(passed + " passed, " + failed + " failed");
    return failed == 0 && passed > 0;
  }

  ByteString key(String name) {
    return ByteString.copyFromUtf8(prefix + name);
  }

  static ByteString bytes(String text) {
    return ByteString.copyFromUtf8(text);
  }

  void putLetters(String letters) {
    for (String letter : letters.split("")) client.put(key(letter), bytes(letter));
  }

  /** The last letters of the keys. */
  String names(List<KvPair> pairs) {
    return pairs.stream()
        .map(pair -> pair.getKey().toStringUtf8().substring(prefix.length()))
        .collect(Collectors.joining());
  }

  static void same(Object got, Object want) {
    if (!Objects.equals(got, want)) throw new AssertionError("got " + got + ", want " + want);
  }

  static void eventually(String what, Callable<Boolean> condition) throws Exception {
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (!condition.call()) {
      if (System.nanoTime() > deadline) throw new AssertionError(what + " did not happen");
      Thread.sleep(50);
    }
  }

  private static String hex(ByteString key, String before) {
    StringBuilder text = new StringBuilder();
    for (byte octet : key.toByteArray()) text.append(before).append(String.format("%02X", octet));
    return text.toString();
  }

  private String send(HttpRequest.Builder request) throws Exception {
    HttpResponse<String> answer =
        http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new AssertionError("PD: " + answer.statusCode() + " " + answer.body());
    }
    return answer.body();
  }

  private HttpRequest.Builder at(String path) {
    return HttpRequest.newBuilder(URI.create("http://" + pd + "/pd/api/v1/" + path));
  }

  private String region(ByteString key) throws Exception {
    return send(at("region/key/" + hex(key, "%")));
  }

  private static String find(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    if (!matcher.find()) throw new AssertionError("no " + pattern + " in " + text);
    return matcher.group(1);
  }

  String leader(ByteString key) throws Exception {
    return find(LEADER, region(key));
  }

  /** Gives an order again while PD is busy with one of its own for the region. */
  private void operator(String json) throws Exception {
    for (int tries = 20; ; tries--) {
      try {
        send(at("operators").POST(HttpRequest.BodyPublishers.ofString(json)));
        return;
      } catch (AssertionError busy) {
        if (tries == 0 || !busy.getMessage().contains("ErrAddOperator")) throw busy;
        Thread.sleep(200);
      }
    }
  }

  /** Splits at the key and waits until PD knows the new regions. */
  void split(ByteString key) throws Exception {
    String wanted = hex(key, "");
    // An earlier run may have split there; PD would wait a minute for a split that cannot be.
    if (find(START, region(key)).equals(wanted)) return;
    operator(
        String.format(
            "{\"name\":\"split-region\",\"region_id\":%s,\"policy\":\"usekey\",\"keys\":[\"%s\"]}",
            find(ID, region(key)), wanted));
    eventually("a split", () -> find(START, region(key)).equals(wanted));
  }

  /** Lets each of the region's stores lead once. */
  void moveLeader(ByteString key) throws Exception {
    String region = region(key);
    Matcher stores = STORE.matcher(region);
    for (int moved = 0; moved < 3 && stores.find(); moved++) {
      String store = stores.group(1);
      if (leader(key).equals(store)) continue;
      operator(
          String.format(
              "{\"name\":\"transfer-leader\",\"region_id\":%s,\"to_store_id\":%s}",
              find(ID, region), store));
      Thread.sleep(300);
    }
  }
}
