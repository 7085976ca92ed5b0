/** Takes leaders away from stores whose labels reject them (`label-property`, `reject-leader`). (pd-rules 9.47) */
import { OperatorBuilder } from "../operator-builder.js";
import { BaseScheduler, type SchedulerHost } from "../scheduler.js";

export const LABEL = "label-scheduler";

export class LabelScheduler extends BaseScheduler {
  readonly name = LABEL;

  constructor(host: SchedulerHost) {
    super(host, "leader");
  }

  run(): number {
    const { view } = this;
    for (const store of view.stores()) {
      if (!view.config.rejectsLeader(store.meta.labels)) continue;
      const region = this.pickOn(store.id, "leader", (other) => this.isWell(other));
      const target = region?.meta.peers
        .filter((peer) => peer.role === "voter" && peer.storeId !== store.id)
        .flatMap((peer) => view.store(peer.storeId) ?? [])
        .find(
          (other) => view.leaderTargetProblem(other) === undefined && view.leaderSafeguard(region)(other),
        );
      if (region === undefined || target === undefined) continue;
      const builder = new OperatorBuilder(view, "label-reject-leader", region);
      const built = builder.setLeader(target.id).build(["leader"]);
      if (built.kind === "built" && this.submit(built.operator) === undefined) return 1;
    }
    return 0;
  }
}
