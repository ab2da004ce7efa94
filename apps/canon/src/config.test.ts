import { describe, expect, test } from "vitest";
import { readConfig } from "./config.js";

test("an empty environment means one process with a SQLite file in ./data", () => {
  expect(readConfig({})).toMatchObject({
    SLUICE_DATA: "./data",
    SLUICE_STORE: { kind: "sqlite", path: null },
    CANON_ROLE: "both",
  });
});

describe("SLUICE_STORE", () => {
  test("takes a PostgreSQL address", () => {
    const { SLUICE_STORE: store } = readConfig({ SLUICE_STORE: "postgres://canon@db/lore" });

    expect(store).toEqual({ kind: "postgres", url: "postgres://canon@db/lore" });
  });

  test.each(["mysql://canon:geheim@db/lore", "geheim", "postgres://canon:geheim@db:port/lore"])(
    "refuses %j and does not repeat it",
    (text) => {
      const read = () => readConfig({ SLUICE_STORE: text });

      expect(read).toThrow(/SLUICE_STORE: must be sqlite:/);
      expect(read).not.toThrow(/geheim/);
    },
  );
});

describe("the role", () => {
  test("comes from the environment, or from the arguments, which go before", () => {
    expect(readConfig({ CANON_ROLE: "worker" }).CANON_ROLE).toBe("worker");
    expect(readConfig({ CANON_ROLE: "worker" }, ["--role", "service"]).CANON_ROLE).toBe("service");
    expect(readConfig({}, ["--role=worker"]).CANON_ROLE).toBe("worker");
  });

  test.each([[["--role", "boss"]], [["--rôle", "worker"]], [["worker"]], [["--role"]]])(
    "%j is refused with what there is",
    (args) => {
      expect(() => readConfig({}, args)).toThrow(/service.*worker/);
    },
  );
});

test("everything wrong is said at once", () => {
  expect(() => readConfig({ SLUICE_PORT: "no", SLUICE_STORE: "x", CANON_ROLE: "y" })).toThrow(
    /SLUICE_STORE.*\n.*SLUICE_PORT.*\n.*CANON_ROLE/,
  );
});
