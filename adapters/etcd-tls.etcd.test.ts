/** A real etcd that takes only TLS with client certificates, reached as PD's flags say. Needs openssl. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { etcdSettings } from "../ctl/etcd-settings.js";
import { ask } from "../pd/test/meta-store-conformance.js";
import type { MetaEntry } from "../pd/index.js";
import { freePort } from "../test/support/process-cluster.js";
import { EtcdMetaStore } from "./etcd-meta-store.js";
import { nodeEnv } from "./node-env.js";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("an etcd with TLS", () => {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-etcd-tls-"));
  const file = (name: string): string => join(directory, name);
  let etcd: ChildProcess | undefined;
  let url = "";

  const openssl = (...args: string[]): void =>
    void execFileSync("openssl", args, { stdio: "ignore", cwd: directory });
  const authority = (name: string): void =>
    openssl(
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", `/CN=${name}`],
      ...["-keyout", `${name}.key`, "-out", `${name}.pem`],
    );
  function certificate(name: string): void {
    openssl(
      ...[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        `/CN=${name}`,
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.csr`,
      ],
    );
    openssl(
      ...[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        `${name}.csr`,
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
      ],
      ...["-extfile", "names", "-out", `${name}.pem`],
    );
  }

  beforeAll(async () => {
    writeFileSync(file("names"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
    authority("ca");
    authority("stranger");
    certificate("server");
    certificate("pd");
    const [client, peer] = [await freePort(), await freePort()];
    url = `https://127.0.0.1:${client}`;
    const peerUrl = `http://127.0.0.1:${peer}`;
    etcd = spawn(
      "etcd",
      [
        ...["--name", "etcd1", "--data-dir", file("data"), "--logger", "zap"],
        ...["--listen-client-urls", url, "--advertise-client-urls", url],
        ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
        ...["--initial-cluster", `etcd1=${peerUrl}`],
        ...["--cert-file", file("server.pem"), "--key-file", file("server.key")],
        ...["--client-cert-auth", "--trusted-ca-file", file("ca.pem")],
      ],
      { stdio: "ignore", env: { ...process.env, ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
  });
  afterAll(async () => {
    const gone = new Promise<void>((resolve) => etcd?.once("exit", () => resolve()));
    etcd?.kill("SIGKILL");
    await gone;
    rmSync(directory, { recursive: true, force: true });
  });

  const open = (flags: object): EtcdMetaStore => {
    const settings = etcdSettings({ etcd: url, ...flags }, {});
    if (settings === undefined) throw new Error("no settings");
    return new EtcdMetaStore(nodeEnv(SILENT_LOGGER), settings.connection);
  };

  test("takes PD with a certificate, and keeps what it writes", async () => {
    const store = open({
      etcdCacert: file("ca.pem"),
      etcdCert: file("pd.pem"),
      etcdKey: file("pd.key"),
    });
    const target = { store, sleep };
    const put = (): Promise<number> =>
      ask<number>(target, (done) => store.put(utf8("/pd/tls"), utf8("1"), done));
    for (let tries = 0; ; tries++) {
      try {
        await put();
        break;
      } catch (error) {
        if (tries > 10) throw error;
        await sleep(500);
      }
    }
    const entry = await ask<MetaEntry | undefined>(target, (done) => store.get(utf8("/pd/tls"), done));
    expect(new TextDecoder().decode(entry?.value)).toBe("1");
    const lease = await ask<number>(target, (done) => store.grantLease(60, done));
    expect(await ask<number>(target, (done) => store.keepAliveLease(lease, done))).toBe(60);
    store.close(() => {});
  });

  test.each([
    ["another authority", { etcdCacert: "stranger.pem", etcdCert: "pd.pem", etcdKey: "pd.key" }],
    ["no certificate of PD's", { etcdCacert: "ca.pem" }],
  ])("refuses with %s, and says why", async (_title, names) => {
    const flags = Object.fromEntries(Object.entries(names).map(([flag, name]) => [flag, file(name)]));
    const store = open(flags);
    const failed = await ask<MetaEntry | undefined>({ store, sleep }, (done) =>
      store.get(utf8("/pd/tls"), done),
    ).catch((error: Error) => error.message);
    expect(failed).toMatch(
      /certificate|etcd does not answer .*(closed|reset|connect|alert|TLS|SSL|Connection)/i,
    );
    store.close(() => {});
  });
});
