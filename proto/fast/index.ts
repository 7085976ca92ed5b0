/**
 * Codecs for the messages that carry nearly all traffic: batches of commands between clients and stores, Raft between
 * stores, and what stores tell PD of each region. Drop-in for those of the generated classes: same bytes, same
 * classes, same errors, two to three times as fast (`node scripts/bench-proto.mjs`). Decoded objects have their
 * fields set, defaults too, so that they share a hidden class; byte fields alias the input. Commands and errors that
 * are rare go through the generated classes as sub-messages. The code is in proto/gen/fast.js, written by
 * scripts/proto-fast.mjs.
 */
export {
  pdpb_RegionHeartbeatRequest as regionHeartbeatRequestCodec,
  raft_serverpb_RaftMessage as raftMessageCodec,
  tikvpb_BatchCommandsRequest as batchCommandsRequestCodec,
  tikvpb_BatchCommandsResponse as batchCommandsResponseCodec,
  tikvpb_BatchRaftMessage as batchRaftMessageCodec,
} from "../gen/fast.js";
