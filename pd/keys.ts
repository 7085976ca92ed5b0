/**
 * The keys of PD's metadata, those of a real PD. All but the cluster id's contain the cluster id. (pd-rules annex
 * C)
 */
import { toHex, utf8 } from "../base/index.js";
import { metaKey } from "./meta-store.js";

const twentyDigits = (id: number): string => String(id).padStart(20, "0");

export const CLUSTER_ID_KEY: Uint8Array = metaKey("/pd/cluster_id");
/** Shared with TiDB, so without the cluster id. (12.11) */
export const TXN_SAFE_POINT_KEY: Uint8Array = metaKey("/tidb/store/gcworker/saved_safe_point");

export class MetaKeys {
  readonly #prefix: string;

  constructor(clusterId: bigint) {
    this.#prefix = `/pd/${clusterId}`;
  }

  #key(suffix: string): Uint8Array {
    return metaKey(`${this.#prefix}${suffix}`);
  }

  get leader(): Uint8Array {
    return this.#key("/leader");
  }
  /** Ours: put again with each renewal of the leader's lease; its value says how long that is. */
  get leaderRenewed(): Uint8Array {
    return this.#key("/leader_renewed");
  }
  /** Ours: who shall, or shall not, lead next. */
  get leaderTransfer(): Uint8Array {
    return this.#key("/leader_transfer");
  }
  /** What members tell of themselves; below it one sub-tree per member id. */
  get members(): Uint8Array {
    return this.#key("/member/");
  }
  /** `member` (ours) is a pdpb.Member; the others are texts, as PD's. */
  member(
    id: bigint,
    item: "member" | "deploy_path" | "binary_version" | "git_hash" | "leader_priority",
  ): Uint8Array {
    return this.#key(`/member/${id}/${item}`);
  }
  get ids(): Uint8Array {
    return this.#key("/alloc_id");
  }
  get timestamp(): Uint8Array {
    return this.#key("/timestamp");
  }
  get cluster(): Uint8Array {
    return this.#key("/raft");
  }
  get bootstrapTime(): Uint8Array {
    return this.#key("/raft/status/raft_bootstrap_time");
  }
  get config(): Uint8Array {
    return this.#key("/config");
  }
  store(id: number): Uint8Array {
    return this.#key(`/raft/s/${twentyDigits(id)}`);
  }
  get stores(): Uint8Array {
    return this.#key("/raft/s/");
  }
  region(id: number): Uint8Array {
    return this.#key(`/raft/r/${twentyDigits(id)}`);
  }
  get regions(): Uint8Array {
    return this.#key("/raft/r/");
  }
  storeWeight(id: number, kind: "leader" | "region"): Uint8Array {
    return this.#key(`/schedule/store_weight/${twentyDigits(id)}/${kind}`);
  }
  get storeWeights(): Uint8Array {
    return this.#key("/schedule/store_weight/");
  }
  schedulerConfig(name: string): Uint8Array {
    return this.#key(`/scheduler_config/${name}`);
  }
  get schedulerConfigs(): Uint8Array {
    return this.#key("/scheduler_config/");
  }
  rule(rule: { readonly groupId: string; readonly id: string }): Uint8Array {
    return this.#key(`/rules/${toHex(utf8(rule.groupId))}-${toHex(utf8(rule.id))}`);
  }
  get rules(): Uint8Array {
    return this.#key("/rules/");
  }
  ruleGroup(id: string): Uint8Array {
    return this.#key(`/rule_group/${id}`);
  }
  get ruleGroups(): Uint8Array {
    return this.#key("/rule_group/");
  }
  regionLabel(id: string): Uint8Array {
    return this.#key(`/region_label/${id}`);
  }
  get regionLabels(): Uint8Array {
    return this.#key("/region_label/");
  }
  get gcSafePoint(): Uint8Array {
    return this.#key("/gc/safe_point");
  }
  gcBarrier(id: string): Uint8Array {
    return this.#key(`/gc/safe_point/service/${id}`);
  }
  get gcBarriers(): Uint8Array {
    return this.#key("/gc/safe_point/service/");
  }
  get gcRevision(): Uint8Array {
    return this.#key("/gc/gc_state_revision");
  }
  /** Set while data is restored. */
  marker(name: "snapshot-recovering" | "pitr-restore-mode"): Uint8Array {
    return this.#key(`/cluster/markers/${name}`);
  }
  get minResolvedTimestamp(): Uint8Array {
    return this.#key("/raft/min_resolved_ts");
  }
  get externalTimestamp(): Uint8Array {
    return this.#key("/raft/external_timestamp");
  }
}
