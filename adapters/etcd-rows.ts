/** etcd's rows as the meta store's entries. */
import type { IKeyValue } from "etcd3";
import type { MetaEntry } from "../pd/index.js";

export const entryOf = (row: IKeyValue): MetaEntry => ({
  key: new Uint8Array(row.key),
  value: new Uint8Array(row.value),
  createRevision: Number(row.create_revision),
  modRevision: Number(row.mod_revision),
  version: Number(row.version),
  leaseId: Number(row.lease),
});
