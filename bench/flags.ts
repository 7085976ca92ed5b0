/** Flags that several benches take: the same name means the same everywhere, each has a default of its own. */
export type Flag = readonly [flags: string, description: string, value?: string];

type Common = (value: string, description?: string) => Flag;

const flag =
  (flags: string, common: string): Common =>
  (value, description = common) => [flags, description, value];

export const FLAGS = {
  regions: flag("--regions <n>", "regions of the cluster"),
  records: flag("--records <n>", "records"),
  valueSize: flag("--value-size <bytes>", "bytes of a value, incompressible"),
  inFlight: flag("--in-flight <n>", "operations in flight"),
  seconds: flag("--seconds <n>", "of each measurement"),
  rounds: flag("--rounds <n>", "times"),
  connections: flag("--connections <n>", "connections to each store"),
};
