/**
 * Why nothing was done: the last reason of each checker and scheduler for a region or a store, so that "why does it
 * not move" can be asked. A reason is kept until the same author decides otherwise or the subject is gone.
 */
export type NoteSubject = "region" | "store";

export interface DecisionNote {
  readonly author: string;
  readonly reason: string;
  /** By the wall clock: for people. */
  readonly wallMs: number;
}

/** A bound against regions that come and go; the oldest subject gives way. */
const SUBJECTS_MAX = 100_000;

export class DecisionNotes {
  readonly #wallMs: () => number;
  readonly #notes = new Map<string, Map<string, DecisionNote>>();

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  note(subject: NoteSubject, id: number, author: string, reason: string): void {
    const key = `${subject} ${id}`;
    let notes = this.#notes.get(key);
    if (notes === undefined) {
      notes = new Map();
      this.#notes.set(key, notes);
      if (this.#notes.size > SUBJECTS_MAX) this.#notes.delete(this.#notes.keys().next().value as string);
    }
    notes.set(author, { author, reason, wallMs: this.#wallMs() });
  }

  clear(subject: NoteSubject, id: number, author: string): void {
    const notes = this.#notes.get(`${subject} ${id}`);
    if (notes?.delete(author) === true && notes.size === 0) this.#notes.delete(`${subject} ${id}`);
  }

  forget(subject: NoteSubject, id: number): void {
    this.#notes.delete(`${subject} ${id}`);
  }

  of(subject: NoteSubject, id: number): DecisionNote[] {
    return [...(this.#notes.get(`${subject} ${id}`)?.values() ?? [])];
  }
}
