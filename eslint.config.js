import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["**/dist/", "**/node_modules/", "**/data/", "bench/results/"] },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-non-null-assertion": "off", // noUncheckedIndexedAccess makes them necessary where an index is known to be good
      "@typescript-eslint/require-await": "off", // ports are asynchronous, some stores answer at once
      "no-console": "error",
    },
  },
  {
    // Queue, worker and stores get time and randomness from outside (architecture.md §1.6).
    files: ["packages/sluice/src/**/*.ts"],
    ignores: ["**/*.test.ts", "packages/sluice/src/clock.ts", "packages/sluice/src/testing/**"],
    rules: {
      "no-restricted-properties": [
        "error",
        { object: "Date", property: "now", message: "Take a Clock." },
        { object: "Math", property: "random", message: "Take a random source." },
      ],
    },
  },
  {
    // What is published has the tools of tests as development dependencies only.
    files: ["packages/*/src/**/*.ts"],
    ignores: ["**/*.test.ts", "**/*.test.*.ts"],
    rules: { "no-restricted-imports": ["error", "@sluice/test-postgres", "@sluice/test-prisma"] },
  },
  {
    // Programs that talk to a terminal.
    files: ["apps/*/src/main.ts", "apps/*/src/*.bench.ts", "bench/src/**/*.ts", "examples/src/**/*.ts"],
    rules: { "no-console": "off" },
  },
  {
    // Looks at what a service answers field by field, as a client without types does.
    files: ["tools/http/src/walk.ts"],
    rules: {
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-return": "off",
    },
  },
  {
    files: ["**/*.js", "**/*.cjs", "**/*.mjs"],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { process: "readonly", console: "readonly", module: "readonly" } },
  },
  {
    files: ["**/*.test.ts"],
    rules: {
      "@typescript-eslint/no-unsafe-assignment": "off", // expect.any and friends are any
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true }],
    },
  },
);
