/**
 * Requests that no sane client sends: absent sub-messages, empty lists, numbers at their limits, bytes of any kind, by
 * every method. Each is answered, by a response or a status; none ends the store, or stays in its memory.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import {
  type BoundMethod,
  type kvrpcpb,
  type MethodDefinition,
  RPC_CODE,
  type RpcStatus,
  TikvService,
  type tikvpb,
} from "../proto/index.js";
import { arbitraryMessage } from "../proto/test/arbitrary.js";
import { camel } from "../proto/test/reflection.js";
import { addressOf, CLUSTER, Stores } from "./test/harness.js";

interface Answer {
  readonly messages: unknown[];
  status: RpcStatus | undefined;
}

/** Calls a method of store 1 over the network, with everything encoded and decoded. */
function call(stores: Stores, { definition }: BoundMethod, request: object, waitMs = 50): Answer {
  const answer: Answer = { messages: [], status: undefined };
  const opened = stores.network.channel(addressOf(1)).open(definition, {
    onMessage: (message) => answer.messages.push(message),
    onEnd: (status) => {
      answer.status = status;
    },
  });
  opened.send(request);
  opened.halfClose();
  for (let waited = 0; answer.status === undefined && waited < waitMs; waited += 10) stores.pass(10);
  return answer;
}

const service = camel.lookupService("tikvpb.Tikv");
const requestType = (name: string) => camel.lookupType(service.methods[name]?.requestType ?? "");
const unary = (stores: Stores): [string, BoundMethod][] =>
  stores
    .store()
    .methods()
    .filter(({ definition }) => definition.kind === "unary" && definition.path.startsWith("/tikvpb."))
    .map((method) => [method.definition.path.slice("/tikvpb.Tikv/".length), method]);

describe("every unary method", () => {
  test("answers an empty request", () => {
    const stores = Stores.led();
    const methods = unary(stores);
    expect(methods.length).toBeGreaterThan(40);
    for (const [name, method] of methods) {
      const { messages, status } = call(stores, method, {});
      expect(status, name).toBeDefined();
      if (status?.code === RPC_CODE.ok) expect(messages, name).toHaveLength(1);
      else expect(status?.message.length, name).toBeGreaterThan(10);
    }
  });

  test("answers any request, of a region that is here or not, and the store goes on", () => {
    const stores = Stores.led(1, { scanRowsMax: 50 });
    const methods = unary(stores).filter(
      ([name]) => name.startsWith("Raw") || /Split|ReadIndex|Health|Safe/.test(name),
    );
    expect(methods.length).toBeGreaterThan(14);
    for (const [name, method] of methods) {
      const hasContext = requestType(name).fields["context"] !== undefined;
      const requests = fc.tuple(arbitraryMessage(requestType(name), 2), fc.boolean());
      fc.assert(
        fc.property(requests, ([request, isHere]) => {
          const leader = [...stores.store().peers.all()].find((peer) => peer.isLeader);
          const context = isHere && hasContext ? { context: stores.context(1, leader?.regionId) } : {};
          const { status } = call(stores, method, { ...request, ...context }, 3_000);
          expect(status, name).toBeDefined();
        }),
        { numRuns: 25 },
      );
    }
    expect(stores.member(1).fatal).toBeUndefined();
    stores.pass(2_000);
    const { admission } = stores.store();
    expect([admission.scans.bytes, admission.budgets.proposals.bytes]).toEqual([0, 0]);
  });

  test("of another cluster is refused, whatever else it says", () => {
    const stores = Stores.led();
    for (const [name, method] of unary(stores)) {
      if (requestType(name).fields["context"] === undefined) continue;
      const { status } = call(stores, method, { context: { ...stores.context(), clusterId: CLUSTER + 1n } });
      const expected = [RPC_CODE.invalidArgument, RPC_CODE.unimplemented];
      expect(expected, name).toContain(status?.code);
    }
  });

  test("of another store is refused with both ids", () => {
    const stores = Stores.led();
    const context = { ...stores.context(), peer: { id: 21, storeId: 9 } };
    for (const [name, method] of unary(stores)) {
      if (requestType(name).fields["context"] === undefined) continue;
      const { messages, status } = call(stores, method, { context });
      if (status?.code !== RPC_CODE.ok || name === "GetHealthFeedback") continue;
      const { regionError } = messages[0] as { regionError: { storeNotMatch: object } | null };
      expect(regionError?.storeNotMatch, name).toMatchObject({ requestStoreId: 9, actualStoreId: 1 });
    }
  });
});

describe("BatchCommands", () => {
  const batch = TikvService.BatchCommands as unknown as MethodDefinition<unknown, unknown>;

  test("answers every command of any kind, by its id", () => {
    const stores = Stores.led();
    const command = arbitraryMessage(camel.lookupType("tikvpb.BatchCommandsRequest.Request"), 3);
    fc.assert(
      fc.property(fc.array(command, { maxLength: 8 }), (requests) => {
        const method = { definition: batch } as BoundMethod;
        const { messages, status } = call(stores, method, {
          requests,
          requestIds: requests.map((_, i) => i + 7),
        });
        const answers = (messages as tikvpb.BatchCommandsResponse[]).flatMap(({ requestIds }) => requestIds);
        // A command of another cluster ends the stream.
        if (status?.code === RPC_CODE.invalidArgument) return;
        expect(answers.toSorted((left, right) => left - right)).toEqual(requests.map((_, i) => i + 7));
      }),
      { numRuns: 100 },
    );
    expect(stores.put("k", "v")).toEqual({});
  });

  test("tells each client how the store is, once a second", () => {
    const stores = Stores.led();
    const heard: tikvpb.BatchCommandsResponse[] = [];
    const opened = stores.network.channel(addressOf(1)).open(TikvService.BatchCommands, {
      onMessage: (message) => heard.push(message),
      onEnd() {},
    });
    const get: kvrpcpb.IRawGetRequest = { key: utf8("k"), context: stores.context() };
    for (let i = 0; i < 50; i++) {
      opened.send({ requests: [{ RawGet: get }], requestIds: [i] });
      stores.pass(100);
    }
    const told = heard.flatMap(({ healthFeedback }) => (healthFeedback == null ? [] : [healthFeedback]));
    expect(told.length).toBeGreaterThanOrEqual(5);
    expect(told.length).toBeLessThanOrEqual(7);
    expect(told[0]).toMatchObject({ storeId: 1, slowScore: 1 });
    const numbers = told.map(({ feedbackSeqNo }) => feedbackSeqNo);
    expect(numbers).toEqual(numbers.toSorted((left, right) => left - right));
  });
});
