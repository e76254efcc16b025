// SPDX-License-Identifier: MIT

/// How many queries and keys one request of an attention call has, and which see which.
package struct AttentionExtent: Sendable, Equatable {
    /// Query tokens.
    package var tokenCount: Int
    /// Keys: positions 0 ..< length.
    package var length: Int
    /// Whether token i sees only the keys j ≤ length − tokenCount + i, so that the last token sees all.
    package var isCausal: Bool

    package init(tokenCount: Int, length: Int, isCausal: Bool) {
        self.tokenCount = tokenCount
        self.length = length
        self.isCausal = isCausal
    }

    /// How many keys token `token` sees: the first ones. Never falls from token to token.
    package func visible(_ token: Int) -> Int {
        isCausal ? max(0, length - tokenCount + token + 1) : length
    }
}
