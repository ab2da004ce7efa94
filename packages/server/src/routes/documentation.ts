/** The OpenAPI document, and the same for people. */
import { operations } from "../contract/index.js";
import { documentationPage } from "../docs-page.js";
import type { OpenApi } from "../openapi.js";
import type { Mount } from "../route.js";

export function documentationRoutes(mount: Mount, document: OpenApi): void {
  const text = JSON.stringify(document);
  const page = documentationPage(document);
  const headers = { "cache-control": "no-cache" };
  mount(operations.openapi, async () => ({ status: 200, body: text, headers }));
  mount(operations.docs, async () => ({
    status: 200,
    body: page.html,
    headers: { ...headers, "content-security-policy": page.contentSecurityPolicy },
  }));
}
