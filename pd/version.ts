/** Versions of stores and of the cluster: `8.5.0`, `v9.0.0-beta.2`. Only order and major.minor matter. */

/** What this PD tells its clients: the version of TiKV whose protocol it speaks. */
export const PD_VERSION = "8.5.0";
export const PD_GIT_HASH = "raftwerk";

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly pre: string;
}

/** Empty is 1.0.0; undefined when the text is not a version. */
export function parseVersion(text: string): Version | undefined {
  if (text === "") return { major: 1, minor: 0, patch: 0, pre: "" };
  const match = /^v?([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$/.exec(text);
  if (match === null) return undefined;
  return {
    major: Number(match[1]),
    minor: Number(match[2]),
    patch: Number(match[3]),
    pre: match[4] ?? "",
  };
}

export function compareVersions(left: Version, right: Version): number {
  const difference = left.major - right.major || left.minor - right.minor || left.patch - right.patch;
  if (difference !== 0 || left.pre === right.pre) return difference;
  if (left.pre === "") return 1;
  if (right.pre === "") return -1;
  return left.pre < right.pre ? -1 : 1;
}

export const formatVersion = (version: Version): string =>
  `${version.major}.${version.minor}.${version.patch}${version.pre === "" ? "" : `-${version.pre}`}`;
