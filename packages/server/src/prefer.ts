/** The header Prefer (RFC 7240): how long a client is ready to wait for the end of a job. */

export interface Preferences {
  /** In seconds, cut to the most that is given; null: it does not wish to wait. */
  readonly waitS: number | null;
  readonly respondAsync: boolean;
}

const longestWaitS = 60;

/** Preferences that are not known, or not understood, are ignored, as the RFC has it. */
export function preferencesOf(header: string | readonly string[] | undefined): Preferences {
  const text = typeof header === "string" ? header : (header ?? []).join(",");
  let waitS: number | null = null;
  let respondAsync = false;
  for (const preference of text.split(",").slice(0, 20)) {
    const [name = "", value = ""] = (preference.split(";")[0] ?? "").split("=").map((part) => part.trim());
    if (name.toLowerCase() === "respond-async") respondAsync = true;
    if (name.toLowerCase() !== "wait" || waitS !== null) continue;
    const digits = value.replace(/^"(.*)"$/, "$1");
    if (/^\d{1,9}$/.test(digits)) waitS = Math.min(Number(digits), longestWaitS);
  }
  return { waitS, respondAsync };
}

/** What was followed. */
export function appliedOf({ waitS, respondAsync }: Preferences, isAsync: boolean): string | null {
  const applied = [...(respondAsync && isAsync ? ["respond-async"] : []), ...(waitS !== null ? [`wait=${waitS}`] : [])];
  return applied.length === 0 ? null : applied.join(", ");
}
