// SPDX-License-Identifier: MIT

/// What a prefix cache that forgets the least recently used block would have of a trace's prompts.
public struct PrefixCacheReplay: Sendable {
    /// Blocks that it holds; nil for no limit.
    public let capacity: Int?
    /// Tokens of all prompts, and those found in the cache.
    public private(set) var inputTokens = 0
    public private(set) var hitTokens = 0
    /// Blocks that were held at the end.
    public var heldBlocks: Int { place.count }

    private var place: [Int: Int] = [:]
    /// Blocks by recency: links of a ring whose entry 0 stands between the oldest and the newest.
    private var id = [0]
    private var newer = [0]
    private var older = [0]

    public init(capacity: Int?) { self.capacity = capacity.map { max(1, $0) } }

    /// The part of the prompt tokens that was found.
    public var hitRate: Double { inputTokens > 0 ? Double(hitTokens) / Double(inputTokens) : 0 }

    /// Looks a prompt up, then keeps all of its blocks.
    ///
    /// - Returns: tokens that were found: those of the blocks from the first one on that are all there.
    public mutating func look(up request: RequestTrace.Request, blockTokens: Int) -> Int {
        let known = request.blocks.prefix { place[$0] != nil }.count
        for block in request.blocks { keep(block) }
        let tokens = min(known * blockTokens, request.inputTokens)
        inputTokens += request.inputTokens
        hitTokens += tokens
        return tokens
    }

    private mutating func keep(_ block: Int) {
        if let slot = place[block] {
            unlink(slot)
            link(slot)
            return
        }
        var slot = id.count
        if let capacity, place.count >= capacity {
            // The oldest makes room.
            slot = newer[0]
            place[id[slot]] = nil
            unlink(slot)
            id[slot] = block
        } else {
            id.append(block)
            newer.append(0)
            older.append(0)
        }
        place[block] = slot
        link(slot)
    }

    private mutating func link(_ slot: Int) {
        let newest = older[0]
        newer[newest] = slot
        older[slot] = newest
        newer[slot] = 0
        older[0] = slot
    }

    private mutating func unlink(_ slot: Int) {
        newer[older[slot]] = newer[slot]
        older[newer[slot]] = older[slot]
    }
}

extension RequestTrace {
    /// The requests as a fleet sees them, whose prefix cache holds `capacity` blocks; at least one token of a prompt is
    /// computed.
    public func traced(cacheBlocks capacity: Int?) -> (requests: [TracedRequest], hitRate: Double) {
        var cache = PrefixCacheReplay(capacity: capacity)
        let traced = requests.map { request in
            let hit = cache.look(up: request, blockTokens: blockTokens)
            return TracedRequest(
                seconds: Double(request.milliseconds) / 1000, inputTokens: request.inputTokens,
                outputTokens: max(1, request.outputTokens), cachedTokens: min(hit, request.inputTokens - 1))
        }
        return (traced, cache.hitRate)
    }
}
