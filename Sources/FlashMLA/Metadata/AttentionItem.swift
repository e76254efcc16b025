// SPDX-License-Identifier: MIT

/// Tokens of the cache that are summed together before the sums are combined, in ascending order.
///
/// Part of the definition of the result: because every sequence is always partitioned here, whether partitions run
/// one after the other or on several threads changes no bit.
package let partitionSize = 512

/// The rows (a head of a token) that share decoded keys: some tokens of a request, and heads of one key head.
package struct AttentionRows: Sendable, Equatable {
    package var request: Int
    package var tokens: Range<Int>
    package var heads: Range<Int>

    package var count: Int { tokens.count * heads.count }
}

/// A share of an attention call for one thread: rows over some partitions of their keys.
package struct AttentionItem: Sendable, Equatable {
    package var rows: AttentionRows
    /// Empty where the rows see no key.
    package var partitions: Range<Int>
    /// Where the item's sums are stored, counted in rows, for a later merge; nil where it finishes its rows itself.
    ///
    /// An item that begins with partition 0 stores one set of sums, which covers all of its partitions; a later one
    /// stores a set for each, since sums are folded into those of all earlier keys one partition at a time.
    package var storedRows: Int?
    /// Expected time, in units of one row times one block of keys.
    package var cost: Int
}

/// Rows whose keys several items share, with the sums these items stored, ascending and side by side.
package struct AttentionMerge: Sendable, Equatable {
    package var rows: AttentionRows
    /// Where the first set is stored, counted in rows.
    package var storedRows: Int
    package var setCount: Int
}
