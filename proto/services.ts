/** The services of the protocol as `MethodDefinition`s: `TikvService.RawGet.path` is `/tikvpb.Tikv/RawGet`. */
export * from "./gen/services.js";
