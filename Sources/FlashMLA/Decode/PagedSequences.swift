// SPDX-License-Identifier: MIT

/// Where the requests of a decode call have their keys: FlashMLA's `block_table` and `cache_seqlens`.
public struct PagedSequences: Sendable {
    /// The blocks of each request in order [requests, blocksPerRequest]. Entries beyond what a request's length needs
    /// are never looked at and may hold anything.
    public var blockTable: [Int32]
    /// Entries of one request.
    public var blocksPerRequest: Int
    /// Keys of each request, 0 or more, those of the query tokens included.
    public var lengths: [Int32]

    public init(blockTable: [Int32], blocksPerRequest: Int, lengths: [Int32]) {
        self.blockTable = blockTable
        self.blocksPerRequest = blocksPerRequest
        self.lengths = lengths
    }
}
