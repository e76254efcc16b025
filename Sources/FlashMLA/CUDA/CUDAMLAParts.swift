// SPDX-License-Identifier: MIT

/// How the GPU cuts requests among its multiprocessors: what `cutRequests` of `mla_layout.cuh` computes there, number
/// by number. FlashMLA's tile scheduler, with its costs.
package struct CUDAMLAParts: Sendable, Equatable {
    /// What one multiprocessor does: pages of consecutive requests; nothing if the first request is behind the last.
    package struct Part: Sendable, Equatable {
        package var firstRequest: Int
        package var lastRequest: Int
        /// Of the first request, and behind the last page of the last one.
        package var firstPage: Int
        package var endPage: Int
        /// Number of the first request's piece among its pieces.
        package var firstPiece: Int
    }

    package private(set) var parts: [Part] = []
    /// Prefix sums of the requests' pieces [requests + 1].
    package private(set) var pieceEnds: [Int]

    /// Costs of a request beyond its pages, in pages.
    private static let fixedPages = 5

    /// Parts for a machine: blocks of one tile of rows and one key head share the requests.
    package static func count(multiprocessors: Int, rowCount: Int, keyHeadCount: Int) -> Int {
        let tiles = (rowCount + CUDAMLAKernel.tileRows - 1) / CUDAMLAKernel.tileRows
        return max(1, multiprocessors / keyHeadCount / max(tiles, 1))
    }

    /// Pages of a request; one of no keys counts as one, so that somebody writes its result.
    package static func pages(_ length: Int) -> Int {
        max(1, (length + CUDAMLAKernel.pageSize - 1) / CUDAMLAKernel.pageSize)
    }

    package init(lengths: [Int], count: Int) {
        pieceEnds = Array(repeating: 0, count: lengths.count + 1)
        let total = lengths.reduce(0) { $0 + Self.pages($1) + Self.fixedPages }
        let payload = (total + count - 1) / count + Self.fixedPages
        var (request, page, piece) = (0, 0, 0)
        for index in 0..<count {
            var part = Part(
                firstRequest: request, lastRequest: request - 1, firstPage: page, endPage: 0, firstPiece: piece)
            var left = payload
            while request < lengths.count {
                let pages = Self.pages(lengths[request])
                let rest = pages - page
                guard left >= rest + Self.fixedPages || index == count - 1 else {
                    if left > Self.fixedPages {
                        part.lastRequest = request
                        page += left - Self.fixedPages
                        part.endPage = page
                        piece += 1
                    }
                    break
                }
                left -= rest + Self.fixedPages
                part.lastRequest = request
                part.endPage = pages
                pieceEnds[request + 1] = pieceEnds[request] + piece + 1
                request += 1
                (page, piece) = (0, 0)
            }
            parts.append(part)
        }
    }

    /// Pieces of all requests.
    package var pieceCount: Int { pieceEnds.last ?? 0 }

    /// One stretch of a part: pages of one request.
    package struct Stretch: Sendable, Equatable {
        package var request: Int
        package var pages: Range<Int>
        /// Number among the pieces of all requests.
        package var piece: Int
        package var isWhole: Bool
    }

    /// The stretches of a part, as the kernel walks them.
    package func stretches(of part: Part, lengths: [Int]) -> [Stretch] {
        guard part.firstRequest <= part.lastRequest else { return [] }
        return (part.firstRequest...part.lastRequest).map { request in
            let first = request == part.firstRequest ? part.firstPage : 0
            let end = request == part.lastRequest ? part.endPage : Self.pages(lengths[request])
            return Stretch(
                request: request, pages: first..<(lengths[request] > 0 ? end : first),
                piece: pieceEnds[request] + (request == part.firstRequest ? part.firstPiece : 0),
                isWhole: pieceEnds[request + 1] - pieceEnds[request] == 1)
        }
    }
}
