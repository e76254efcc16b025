// SPDX-License-Identifier: MIT

internal import Platform
internal import Tensors

// How the arguments of one call fit each other.
extension DecodeRule {
    static func check(_ cache: PagedLatentCache) throws(FathomError) {
        // Packed pages were checked when they were made.
        if cache.packed != nil { return }
        guard [.float32, .bfloat16, .float16].contains(cache.scalarType) else {
            throw FathomError(
                .usage, "the cache is \(cache.scalarType.rawValue); legal are F32, BF16, F16 and packed pages")
        }
        guard (0...Int(Int32.max)).contains(cache.blockCount) else {
            throw FathomError(
                .usage, "the cache has \(cache.blockCount) blocks; legal are 0 to \(Int32.max)")
        }
        try check(count: cache.pageSize, "tokens in a page")
        try check(count: cache.keyHeadCount, "key heads")
        try check(width: cache.rowWidth, "the cache")
        try check(
            span: [cache.blockCount, cache.pageSize, cache.keyHeadCount],
            [cache.blockStride, cache.rowStride, cache.headStride], "the cache", of: "blocks, rows and heads")
        try check(cache.baseAddress, cache.scalarType, "the cache")
    }

    static func check(queries: DecodeTensor, cache: PagedLatentCache) throws(FathomError) {
        try check(heads: queries.headCount, keyHeads: cache.keyHeadCount)
        guard queries.width == cache.rowWidth else {
            throw FathomError(
                .usage,
                "queries are \(queries.width) wide and rows of the cache \(cache.rowWidth); the two must be equal")
        }
    }

    static func check(out: DecodeTensor, queries: DecodeTensor) throws(FathomError) {
        try check(like: queries, "the queries", out, "out")
        guard out.width <= queries.width else {
            throw FathomError(
                .usage,
                """
                out is \(out.width) wide, but values are the first numbers of rows \(queries.width) wide; legal are \
                1 to \(queries.width)
                """)
        }
    }

    /// Two views have the same requests, tokens and heads.
    static func check(
        like other: DecodeTensor, _ otherName: String, _ tensor: DecodeTensor, _ name: String
    ) throws(FathomError) {
        let pairs = [
            ("requests", tensor.requestCount, other.requestCount), ("tokens", tensor.tokenCount, other.tokenCount),
            ("heads", tensor.headCount, other.headCount),
        ]
        for (extent, found, legal) in pairs where found != legal {
            throw FathomError(
                .usage, "\(name): \(extent) is \(found), but \(legal) in \(otherName); the two must be equal")
        }
    }

    static func check(
        _ sequences: PagedSequences, cache: PagedLatentCache, requests: Int
    ) throws(FathomError) {
        guard sequences.lengths.count == requests else {
            throw FathomError(
                .usage, "there are \(sequences.lengths.count) lengths for \(requests) requests; each needs one")
        }
        try check(lengths: sequences.lengths)
        let width = sequences.blocksPerRequest
        let (legal, overflow) = width.multipliedReportingOverflow(by: requests)
        guard width >= 0, !overflow, sequences.blockTable.count == legal else {
            throw FathomError(
                .usage,
                """
                the block table has \(sequences.blockTable.count) entries; \(requests) requests of \(width) blocks \
                need \(overflow || width < 0 ? "0 blocks or more each" : "\(legal)")
                """)
        }
        for (request, length) in sequences.lengths.enumerated() {
            let used = (Int(length) + cache.pageSize - 1) / cache.pageSize
            guard used <= width else {
                throw FathomError(
                    .usage,
                    """
                    the length of request \(request) is \(length), but its \(width) blocks of \(cache.pageSize) \
                    hold at most \(width * cache.pageSize) keys
                    """)
            }
            for entry in 0..<used {
                let block = sequences.blockTable[request * width + entry]
                guard block >= 0, Int(block) < cache.blockCount else {
                    throw FathomError(
                        .usage,
                        """
                        entry \(entry) of request \(request) in the block table is \(block); the cache has blocks 0 \
                        to \(cache.blockCount - 1)
                        """)
                }
            }
        }
    }

    /// One log-sum for each request, head and token.
    static func check(logSums count: Int, queries: DecodeTensor) throws(FathomError) {
        let heads = queries.headCount.multipliedReportingOverflow(by: queries.tokenCount)
        let legal = heads.partialValue.multipliedReportingOverflow(by: queries.requestCount)
        guard !heads.overflow, !legal.overflow, count == legal.partialValue else {
            throw FathomError(
                .usage,
                """
                the log-sums have \(count) elements; \(queries.requestCount) requests with \(queries.headCount) heads \
                and \(queries.tokenCount) tokens need \(legal.partialValue)
                """)
        }
    }

    /// A schedule belongs to the call that it is used for.
    static func check(
        _ schedule: MLASchedule, _ sequences: PagedSequences, _ queries: DecodeTensor, _ cache: PagedLatentCache,
        isCausal: Bool
    ) throws(FathomError) {
        let pairs = [
            ("requests", schedule.lengths.count, queries.requestCount),
            ("query tokens", schedule.queryCount, queries.tokenCount),
            ("query heads", schedule.headCount, queries.headCount),
            ("key heads", schedule.keyHeadCount, cache.keyHeadCount),
        ]
        for (name, found, legal) in pairs where found != legal {
            throw FathomError(
                .usage,
                "the schedule is for \(found) \(name), the call has \(legal); make one for this call's shape")
        }
        guard schedule.isCausal == isCausal else {
            throw FathomError(
                .usage,
                """
                the schedule is for isCausal = \(schedule.isCausal), the call has \(isCausal); make one for this \
                call's shape
                """)
        }
        for (request, (found, legal)) in zip(schedule.lengths, sequences.lengths).enumerated() where found != legal {
            throw FathomError(
                .usage,
                """
                the schedule was made for length \(found) of request \(request), the call has \(legal); make one \
                whenever the lengths change
                """)
        }
    }
}
