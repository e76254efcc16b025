// SPDX-License-Identifier: MIT

public import Platform

/// A view of pages of packed rows. The memory may begin at any address and must outlive every use.
///
/// A row is named by its slot, page · pageSize + offset, as the lists of sparse attention name it.
public struct PackedLatentPages {
    public let format: PackedLatentFormat
    /// Tokens in a page, any number.
    public let pageSize: Int
    public let pageCount: Int
    /// Bytes from a page to the next.
    public let pageStride: Int
    /// Page 0.
    public let baseAddress: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - memory: pages, `pageStride` bytes apart; the last may end with its own bytes.
    ///   - pageStride: without one, pages follow each other.
    /// - Throws: `usage` if a page has no token, the stride is shorter than a page, or the memory is.
    public init(
        _ format: PackedLatentFormat, pageSize: Int, pageCount: Int, pageStride: Int? = nil,
        memory: UnsafeMutableRawBufferPointer
    ) throws(FathomError) {
        guard (1...1 << 31).contains(pageSize), (0...1 << 31).contains(pageCount) else {
            throw FathomError(
                .usage,
                """
                packed cache: \(pageCount) pages of \(pageSize) tokens; legal are 0 to 2^31 pages of 1 to 2^31 tokens
                """)
        }
        let page = format.pageByteCount(pageSize: pageSize)
        let stride = pageStride ?? page
        guard stride >= page else {
            throw FathomError(
                .usage,
                """
                packed cache: pages are \(stride) bytes apart; a page of \(pageSize) \(format.rawValue) tokens has \
                \(page) bytes
                """)
        }
        let (before, overflow) = stride.multipliedReportingOverflow(by: max(pageCount - 1, 0))
        let needed = pageCount == 0 ? 0 : before.addingReportingOverflow(page).partialValue
        guard !overflow, needed >= 0, memory.count >= needed else {
            throw FathomError(
                .usage,
                """
                packed cache: the memory has \(memory.count) bytes; \(pageCount) pages of \(pageSize) \
                \(format.rawValue) tokens, \(stride) bytes apart, need \(overflow ? "more than there are" : "\(needed)")
                """)
        }
        guard let base = memory.baseAddress else {
            throw FathomError(.usage, "packed cache: the memory has no address; even no pages need one")
        }
        self.format = format
        self.pageSize = pageSize
        self.pageCount = pageCount
        self.pageStride = stride
        baseAddress = base
    }

    /// Rows in all pages.
    public var rowCount: Int { pageSize * pageCount }

    /// The parts of one row: codes, scales and bfloat16 numbers.
    func row(
        _ slot: Int
    ) -> (codes: UnsafeMutableRawPointer, scales: UnsafeMutableRawPointer, rope: UnsafeMutableRawPointer) {
        let (page, offset) = slot.quotientAndRemainder(dividingBy: pageSize)
        let base = baseAddress + page * pageStride
        return (
            base + format.codeOffset(offset), base + format.scaleOffset(offset, pageSize: pageSize),
            base + format.ropeOffset(offset)
        )
    }

    /// Every slot names a row.
    func check(_ slots: some Collection<Int>) throws(FathomError) {
        for (place, slot) in slots.enumerated() where slot < 0 || slot >= rowCount {
            throw FathomError(
                .usage,
                "slot \(place) is \(slot); the packed cache has \(rowCount) rows, so 0 to \(rowCount - 1) are legal")
        }
    }
}
