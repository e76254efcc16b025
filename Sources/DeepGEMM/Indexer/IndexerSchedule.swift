// SPDX-License-Identifier: MIT

public import Platform

/// How long each request's context is, for the paged indexer.
public struct IndexerContextLengths: Sendable {
    /// Requests of the batch.
    public let requestCount: Int
    /// Queries of each request: 1, or more where several tokens are verified at once.
    public let queriesPerRequest: Int
    /// Visible tokens of each query row, [requestCount · queriesPerRequest]: never negative.
    public let visible: [Int]

    /// One length L per request, its last query's: query n of N sees `L − N + n + 1` tokens, at least none.
    ///
    /// - Throws: `usage` naming a negative length or count.
    public init(perRequest lengths: [Int32], queriesPerRequest: Int = 1) throws(FathomError) {
        try self.init(requestCount: lengths.count, queriesPerRequest: queriesPerRequest, lengths: lengths) {
            max(0, Int(lengths[$0]) - queriesPerRequest + $1 + 1)
        }
    }

    /// One length per query, [requests, queriesPerRequest]: query row r sees `lengths[r]` tokens.
    ///
    /// - Throws: `usage` naming a negative length, or a number of lengths that is no multiple of `queriesPerRequest`.
    public init(perQuery lengths: [Int32], queriesPerRequest: Int) throws(FathomError) {
        guard queriesPerRequest >= 1, lengths.count % queriesPerRequest == 0 else {
            throw FathomError(
                .usage,
                "\(lengths.count) context lengths for \(queriesPerRequest) queries a request; a multiple is legal")
        }
        try self.init(
            requestCount: lengths.count / queriesPerRequest, queriesPerRequest: queriesPerRequest, lengths: lengths
        ) { Int(lengths[$0 * queriesPerRequest + $1]) }
    }

    private init(
        requestCount: Int, queriesPerRequest: Int, lengths: [Int32], _ visible: (_ request: Int, _ query: Int) -> Int
    ) throws(FathomError) {
        guard queriesPerRequest >= 1, queriesPerRequest <= 1 << 16 else {
            throw FathomError(.usage, "\(queriesPerRequest) queries a request; 1…\(1 << 16) is legal")
        }
        if let index = lengths.firstIndex(where: { $0 < 0 }) {
            throw FathomError(.usage, "context length \(lengths[index]) at index \(index); 0 or more is legal")
        }
        self.requestCount = requestCount
        self.queriesPerRequest = queriesPerRequest
        var rows: [Int] = []
        rows.reserveCapacity(requestCount * queriesPerRequest)
        for request in 0..<requestCount {
            for query in 0..<queriesPerRequest { rows.append(visible(request, query)) }
        }
        self.visible = rows
    }

    /// The query rows of a request.
    func rows(of request: Int) -> Range<Int> {
        request * queriesPerRequest..<(request + 1) * queriesPerRequest
    }

    /// Tokens that any query of the request sees.
    func longest(_ request: Int) -> Int {
        visible[rows(of: request)].max() ?? 0
    }
}

/// Which share of the paged indexer's work begins where: DeepGEMM's `get_paged_mqa_logits_metadata`.
///
/// Contexts are cut into segments of 256 tokens, at least one per request; shares differ by one segment at most. The
/// schedule decides who computes what, never what comes out.
public struct IndexerSchedule: Sendable, Hashable {
    /// A place in the walk over all requests' segments.
    public struct Position: Sendable, Hashable {
        public var request: Int
        public var segment: Int
    }

    /// Tokens of a segment.
    public static var segmentTokens: Int { 256 }

    /// Where each share begins; one more at the end, beyond the last request.
    public let starts: [Position]
    /// Segments of each request.
    public let segmentCounts: [Int]

    /// How many shares there are. Some may be empty.
    public var shareCount: Int { starts.count - 1 }

    /// - Parameter shareCount: parts to cut the work into, such as a few times the number of threads; 1…65536.
    /// - Throws: `usage` for any other number.
    public init(_ lengths: IndexerContextLengths, shareCount: Int) throws(FathomError) {
        try self.init(
            segmentCounts: (0..<lengths.requestCount).map {
                max(1, ceilDivide(lengths.longest($0), Self.segmentTokens))
            }, shareCount: shareCount)
    }

    /// For the sparse indexer: DeepGEMM's `get_sparse_mqa_logits_metadata` and its paged form. A query counts as a
    /// request, and what is cut are its columns up to its last block.
    ///
    /// - Throws: `usage` for a number of shares outside 1…65536.
    public init(_ lists: IndexerBlockLists, shareCount: Int) throws(FathomError) {
        try self.init(
            segmentCounts: (0..<lists.rowCount).map {
                max(1, ceilDivide(lists.usedColumns($0), Self.segmentTokens))
            }, shareCount: shareCount)
    }

    private init(segmentCounts: [Int], shareCount: Int) throws(FathomError) {
        guard shareCount >= 1, shareCount <= 1 << 16 else {
            throw FathomError(.usage, "an indexer schedule of \(shareCount) shares; 1…\(1 << 16) is legal")
        }
        self.segmentCounts = segmentCounts
        let total = segmentCounts.reduce(0, +)
        var starts: [Position] = []
        var request = 0
        // Segments before the current request.
        var passed = 0
        for share in 0...shareCount {
            let first = share * (total / shareCount) + min(share, total % shareCount)
            while request < segmentCounts.count, first >= passed + segmentCounts[request] {
                passed += segmentCounts[request]
                request += 1
            }
            starts.append(Position(request: request, segment: first - passed))
        }
        self.starts = starts
    }

    /// Calls the body with each request of a share and the run of segments that the share has of it.
    func forEachRun(of share: Int, _ body: (_ request: Int, _ segments: Range<Int>) -> Void) {
        let start = starts[share]
        let end = starts[share + 1]
        var request = start.request
        while request <= end.request, request < segmentCounts.count {
            let first = request == start.request ? start.segment : 0
            let last = request == end.request ? end.segment : segmentCounts[request]
            if first < last { body(request, first..<last) }
            request += 1
        }
    }

    /// The schedule that was given, or a new one for so many threads.
    ///
    /// - Parameters:
    ///   - given: the caller's.
    ///   - own: one of a single share, for the work at hand.
    /// - Throws: `usage` for a schedule of other work.
    static func checked(
        _ given: IndexerSchedule?, for own: IndexerSchedule, threads: Int, of what: String
    ) throws(FathomError) -> IndexerSchedule {
        guard let given else {
            return try IndexerSchedule(segmentCounts: own.segmentCounts, shareCount: min(threads * 8, 1 << 16))
        }
        guard given.segmentCounts == own.segmentCounts else {
            throw FathomError(
                .usage,
                "the indexer's schedule was made for \(given.segmentCounts.count) \(what); make one for these "
                    + "\(own.segmentCounts.count)")
        }
        return given
    }
}
