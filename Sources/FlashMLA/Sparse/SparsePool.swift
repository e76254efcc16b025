// SPDX-License-Identifier: MIT

internal import Kernels
internal import Tensors

/// The rows that sparse attention selects from: pages of float32, bfloat16 or packed rows.
///
/// Row i is row i mod pageSize of page i / pageSize. Rows that no list names are never read. The memory must outlive
/// every use.
public struct SparsePool {
    /// How rows are stored.
    public enum Format: Sendable, Equatable {
        case float32, bfloat16
        case packed(PackedLatentFormat)
    }

    public let format: Format
    /// Numbers in a row.
    public let rowWidth: Int
    /// Tokens in a page.
    public let pageSize: Int
    public let pageCount: Int
    /// Bytes from a page to the next, and from a row to the next where rows are not packed.
    let pageStride: Int
    let rowStride: Int
    let baseAddress: UnsafeRawPointer
    private let pages: PackedLatentPages?

    /// Packed rows.
    public init(_ pages: PackedLatentPages) {
        self.pages = pages
        format = .packed(pages.format)
        rowWidth = pages.format.rowWidth
        pageSize = pages.pageSize
        pageCount = pages.pageCount
        pageStride = pages.pageStride
        rowStride = 0
        // SAFETY: read only; whoever made the pages keeps them.
        baseAddress = UnsafeRawPointer(pages.baseAddress)
    }

    /// Rows of numbers, dense in pages; `pageStride` in bytes, without one pages follow each other.
    ///
    /// Extents are checked when the pool is used.
    public init(
        _ baseAddress: UnsafeRawPointer, isBFloat16: Bool, rowWidth: Int, pageSize: Int, pageCount: Int,
        pageStride: Int? = nil
    ) {
        pages = nil
        format = isBFloat16 ? .bfloat16 : .float32
        self.rowWidth = rowWidth
        self.pageSize = pageSize
        self.pageCount = pageCount
        rowStride = rowWidth &* (isBFloat16 ? 2 : 4)
        self.pageStride = pageStride ?? pageSize &* rowStride
        self.baseAddress = baseAddress
    }

    /// The rows of a checked view with one head, as a single page.
    init(_ rows: MHATensor) {
        pages = nil
        format = rows.scalarType == .bfloat16 ? .bfloat16 : .float32
        rowWidth = rows.width
        pageSize = max(rows.tokenCount, 1)
        pageCount = min(rows.tokenCount, 1)
        rowStride = rows.tokenStride * rows.scalarType.byteCount
        pageStride = 0
        // SAFETY: read only; whoever made the view keeps its memory.
        baseAddress = UnsafeRawPointer(rows.baseAddress)
    }

    /// Rows in all pages.
    public var rowCount: Int { pageSize * pageCount }

    /// Row `index` as floats [rowWidth].
    func decode(_ index: Int, to out: UnsafeMutablePointer<Float>, _ kernels: KernelTable) {
        if let pages {
            pages.decode(index, to: out, kernels)
            return
        }
        let (page, offset) = index.quotientAndRemainder(dividingBy: pageSize)
        let source = baseAddress + (page * pageStride + offset * rowStride)
        if format == .bfloat16 {
            kernels.decodeBFloat16(source, out, rowWidth, 1)
        } else {
            // SAFETY: a row of floats inside its page.
            UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: rowWidth * 4)
        }
    }

    /// Leading columns of a row that are packed codes; nil for rows of floats.
    var latentWidth: Int? {
        switch format {
        case .float32: nil
        case .bfloat16: 0
        case .packed(let format): format.latentWidth
        }
    }

    /// Row `index`, which is not of floats, as bfloat16 in the order of attention on pairs.
    ///
    /// - Parameter row: floats for scratch [rowWidth].
    func decode(
        _ index: Int, to out: UnsafeMutableRawPointer, row: UnsafeMutablePointer<Float>,
        _ kernels: PairAttentionKernels
    ) {
        if let pages {
            pages.decode(index, to: out, row: row, kernels)
            return
        }
        let (page, offset) = index.quotientAndRemainder(dividingBy: pageSize)
        out.copyMemory(from: baseAddress + (page * pageStride + offset * rowStride), byteCount: 2 * rowWidth)
    }
}
