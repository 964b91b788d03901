// Rules for the page's scripts; run from the checkout's folder, as `make lint` does.
import js from "@eslint/js";
import globals from "globals";
import tseslint from "typescript-eslint";

const page = "orchestrator/server/static/**/*.js";

export default tseslint.config(
  {
    extends: [js.configs.recommended],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "max-len": ["error", 100],
      "no-empty": "error",
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "require-atomic-updates": "error",
    },
  },
  {
    files: ["tools/javascript/*.js"],
    languageOptions: { globals: globals.node },
  },
  {
    files: [page],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      globals: { ...globals.browser, ...globals.audioWorklet },
      parserOptions: {
        project: ["tsconfig.json", "tsconfig.worklet.json"],
        tsconfigRootDir: new URL(".", import.meta.url).pathname,
      },
    },
    rules: {
      // It does not read casts in JSDoc, with which tsc has every assignment typed.
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "@typescript-eslint/prefer-promise-reject-errors": "error",
      "@typescript-eslint/return-await": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
    },
  },
);
