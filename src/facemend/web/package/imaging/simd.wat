;; Sums over pixels, four numbers at once: what blurs, other sizes and warps are made of. simd.js holds this as bytes, written by
;; scripts/write_simd.py. Places are bytes in the memory, counts are numbers of floats; a run may read and write up to three
;; floats beyond its end.
(module
  (memory (export "memory") 1)

  ;; to[i] = kernel[0] from[i] + the sum over k = 1..half of kernel[k] (from[i - k step] + from[i + k step])
  (func (export "weigh")
    (param $to i32) (param $from i32) (param $step i32) (param $kernel i32) (param $half i32) (param $count i32)
    (local $end i32) (local $k i32) (local $last i32) (local $before i32) (local $behind i32) (local $sum v128)
    (local.set $end (i32.add (local.get $to) (i32.shl (local.get $count) (i32.const 2))))
    (local.set $last (i32.add (local.get $kernel) (i32.shl (local.get $half) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (local.set $sum (f32x4.mul (v128.load32_splat (local.get $kernel)) (v128.load (local.get $from))))
        (local.set $k (local.get $kernel))
        (local.set $before (local.get $from))
        (local.set $behind (local.get $from))
        (block $summed
          (loop $tap
            (br_if $summed (i32.ge_u (local.get $k) (local.get $last)))
            (local.set $k (i32.add (local.get $k) (i32.const 4)))
            (local.set $before (i32.sub (local.get $before) (local.get $step)))
            (local.set $behind (i32.add (local.get $behind) (local.get $step)))
            (local.set $sum (f32x4.add (local.get $sum) (f32x4.mul
              (v128.load32_splat (local.get $k))
              (f32x4.add (v128.load (local.get $before)) (v128.load (local.get $behind))))))
            (br $tap)))
        (v128.store (local.get $to) (local.get $sum))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (br $next))))

  ;; to[i] += weight from[i]
  (func (export "add") (param $to i32) (param $from i32) (param $weight f32) (param $count i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $to) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (v128.store (local.get $to) (f32x4.add (v128.load (local.get $to))
          (f32x4.mul (f32x4.splat (local.get $weight)) (v128.load (local.get $from)))))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (br $next))))

  ;; A row in another width: pixel x, of `size` bytes (at most 16), is the sum of `taps` pixels from first[x] on, with the next
  ;; `taps` weights each.
  (func (export "across")
    (param $to i32) (param $from i32) (param $size i32)
    (param $first i32) (param $weight i32) (param $taps i32) (param $width i32)
    (local $end i32) (local $k i32) (local $at i32) (local $sum v128)
    (local.set $end (i32.add (local.get $to) (i32.mul (local.get $width) (local.get $size))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (local.set $at (i32.add (local.get $from) (i32.mul (i32.load (local.get $first)) (local.get $size))))
        (local.set $sum (v128.const i32x4 0 0 0 0))
        (local.set $k (local.get $taps))
        (loop $tap
          (local.set $sum (f32x4.add (local.get $sum)
            (f32x4.mul (v128.load32_splat (local.get $weight)) (v128.load (local.get $at)))))
          (local.set $weight (i32.add (local.get $weight) (i32.const 4)))
          (local.set $at (i32.add (local.get $at) (local.get $size)))
          (br_if $tap (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (v128.store (local.get $to) (local.get $sum)) ;; what is too much of it the next pixel overwrites
        (local.set $to (i32.add (local.get $to) (local.get $size)))
        (local.set $first (i32.add (local.get $first) (i32.const 4)))
        (br $next))))

  ;; A row of RGB of a warp. Pixel x lies at ((startX + acrossX[x]) / 1024, (startY + acrossY[x]) / 1024) of the source, whose rows
  ;; are `pitch` bytes long; it is the sum of taps x taps pixels round there, with those of 32 kernels that belong to the places
  ;; between two pixels. What lies beyond [0, roomX) x [0, roomY) or where `where` (0: nowhere) is zero is left as it is; how
  ;; many pixels of the first kind there are is given back.
  (func (export "sharp")
    (param $to i32) (param $source i32) (param $pitch i32) (param $kernels i32) (param $taps i32)
    (param $acrossX i32) (param $acrossY i32) (param $startX i32) (param $startY i32)
    (param $roomX i32) (param $roomY i32) (param $where i32) (param $width i32) (result i32)
    (local $x i32) (local $u i32) (local $v i32) (local $left i32) (local $top i32) (local $beyond i32) (local $reach i32)
    (local $at i32) (local $row i32) (local $k i32) (local $wx i32) (local $wy i32) (local $line v128) (local $sum v128)
    (local.set $reach (i32.sub (i32.shr_u (local.get $taps) (i32.const 1)) (i32.const 1)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $x) (local.get $width)))
        (block $pixel
          (if (local.get $where)
            (then (br_if $pixel (f32.eq (f32.const 0)
              (f32.load (i32.add (local.get $where) (i32.shl (local.get $x) (i32.const 2))))))))
          (local.set $u (i32.shr_s (i32.add (local.get $startX)
            (i32.load (i32.add (local.get $acrossX) (i32.shl (local.get $x) (i32.const 2))))) (i32.const 5)))
          (local.set $v (i32.shr_s (i32.add (local.get $startY)
            (i32.load (i32.add (local.get $acrossY) (i32.shl (local.get $x) (i32.const 2))))) (i32.const 5)))
          (local.set $left (i32.sub (i32.shr_s (local.get $u) (i32.const 5)) (local.get $reach)))
          (local.set $top (i32.sub (i32.shr_s (local.get $v) (i32.const 5)) (local.get $reach)))
          (if (i32.or (i32.ge_u (local.get $left) (local.get $roomX)) (i32.ge_u (local.get $top) (local.get $roomY)))
            (then
              (local.set $beyond (i32.add (local.get $beyond) (i32.const 1)))
              (br $pixel)))
          (local.set $row (i32.add (local.get $source) (i32.add
            (i32.mul (local.get $top) (local.get $pitch)) (i32.mul (local.get $left) (i32.const 12)))))
          (local.set $wy (i32.add (local.get $kernels)
            (i32.shl (i32.mul (i32.and (local.get $v) (i32.const 31)) (local.get $taps)) (i32.const 2))))
          (local.set $sum (v128.const i32x4 0 0 0 0))
          (local.set $top (local.get $taps))
          (loop $down
            (local.set $wx (i32.add (local.get $kernels)
              (i32.shl (i32.mul (i32.and (local.get $u) (i32.const 31)) (local.get $taps)) (i32.const 2))))
            (local.set $line (v128.const i32x4 0 0 0 0))
            (local.set $at (local.get $row))
            (local.set $k (local.get $taps))
            (loop $tap
              (local.set $line (f32x4.add (local.get $line)
                (f32x4.mul (v128.load32_splat (local.get $wx)) (v128.load (local.get $at)))))
              (local.set $wx (i32.add (local.get $wx) (i32.const 4)))
              (local.set $at (i32.add (local.get $at) (i32.const 12)))
              (br_if $tap (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
            (local.set $sum (f32x4.add (local.get $sum)
              (f32x4.mul (v128.load32_splat (local.get $wy)) (local.get $line))))
            (local.set $wy (i32.add (local.get $wy) (i32.const 4)))
            (local.set $row (i32.add (local.get $row) (local.get $pitch)))
            (br_if $down (local.tee $top (i32.sub (local.get $top) (i32.const 1)))))
          (v128.store64_lane 0 (i32.add (local.get $to) (i32.mul (local.get $x) (i32.const 12))) (local.get $sum))
          (v128.store32_lane offset=8 2 (i32.add (local.get $to) (i32.mul (local.get $x) (i32.const 12))) (local.get $sum)))
        (local.set $x (i32.add (local.get $x) (i32.const 1)))
        (br $next)))
    (local.get $beyond)))
