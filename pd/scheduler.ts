/**
 * What every scheduler is: a name, the kind whose limit bounds it, and one round of decisions at a time.
 * (pd-rules 9.3 to 9.5)
 */
import type { DecisionNotes } from "./decision-notes.js";
import type { OperatorController } from "./operator-controller.js";

export interface SchedulerHost {
  readonly controller: OperatorController;
  readonly notes: DecisionNotes;
}

export interface Scheduler {
  readonly name: string;
  readonly kind: "leader" | "region";
  /** Starts what is worth starting; how many operators that were. */
  run(): number;
  /** Ends what adding the scheduler changed. */
  stop(): void;
}
