import { onPostgres } from "./service.test.bed.js";
import { describeWalk } from "./walk.test.cases.js";

describeWalk(onPostgres, { withKey: true });
