import { describe, expect, test } from "vitest";
import { describeLocation, parseLocation, sqlitePath } from "./location.js";

describe("parseLocation", () => {
  test.each([
    ["sqlite:", { kind: "sqlite", path: null }],
    ["sqlite:./jobs.db", { kind: "sqlite", path: "./jobs.db" }],
    ["sqlite:/var/lib/canon.db", { kind: "sqlite", path: "/var/lib/canon.db" }],
    ["postgres://db/canon", { kind: "postgres", url: "postgres://db/canon" }],
    ["postgresql://u:p%40@db:5433/canon", { kind: "postgres", url: "postgresql://u:p%40@db:5433/canon" }],
    ["postgres:///canon?host=/run/postgresql", { kind: "postgres", url: "postgres:///canon?host=/run/postgresql" }],
  ])("%s", (text, expected) => {
    expect(parseLocation(text)).toEqual(expected);
  });

  test.each([
    "",
    "canon.db",
    "mysql://u:p@db/canon",
    "sqlite://host/canon.db",
    "postgres:canon",
    "postgres://u:p@:x/",
    "memory:",
  ])("%j is refused", (text) => {
    expect(parseLocation(text)).toBeNull();
  });
});

test("a SQLite file is in the data folder, or where its path says", () => {
  expect(sqlitePath({ kind: "sqlite", path: null }, "data")).toBe("data/canon.db");
  expect(sqlitePath({ kind: "sqlite", path: "/srv/x.db" }, "data")).toBe("/srv/x.db");
});

test("a description has no password, wherever the address carries one", () => {
  const url = "postgres://canon:geheim@db.example:5433/lore?password=geheim&sslmode=require";

  expect(describeLocation({ kind: "postgres", url }, "data")).toBe("postgres://db.example:5433/lore");
});
