/** The second hundred seeds. */
import { seedSuite } from "./test/seed-suite.js";

seedSuite(101, 100);
