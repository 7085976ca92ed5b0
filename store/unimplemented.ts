/** A method that is not served: UNIMPLEMENTED with a sentence that says what is missing. */
import { type BoundMethod, bindMethod, type MethodDefinition, RPC_CODE } from "../proto/index.js";

export function unimplementedMethod(
  definition: MethodDefinition<unknown, unknown>,
  message: string,
): BoundMethod {
  return bindMethod(definition, (call) => {
    call.end({ code: RPC_CODE.unimplemented, message });
    return { onMessage() {}, onHalfClose() {}, onCancel() {} };
  });
}
