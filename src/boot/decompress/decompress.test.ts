/** Each decompressor on what its own tool has packed, and on damaged data. */
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../core/errors.ts';
import { decompress, detectCompression } from './index.ts';
import { Output } from './output.ts';
import { undoX86Branches, unxz } from './xz.ts';

/** Words, zero runs, and CALL instructions to a few targets: what the branch filter of xz is for. */
function sample(): Uint8Array {
  const out: number[] = [];
  let seed = 12345;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 16) % limit;
  };
  const words = ['virtqueue ', 'descriptor ', 'the ring ', 'is used ', 'by ', 'a driver '];
  while (out.length < 5000) {
    const kind = random(10);
    if (kind < 6) for (const letter of words[kind]!) out.push(letter.charCodeAt(0));
    else if (kind < 9) {
      const target = (0x4000 - out.length + random(3) * 64) >>> 0;
      out.push(0xe8, target & 255, (target >>> 8) & 255, (target >>> 16) & 255, target >>> 24);
    } else for (let i = random(300); i > 0; i--) out.push(0);
  }
  return Uint8Array.from(out);
}

/** The sample packed by bzip2 -9, xz --format=lzma, xz --x86 --check=crc32, lzop -9, lz4 -l -9, zstd -19. */
const PACKED: Record<string, string> = {
  bzip2:
    'QlpoOTFBWSZTWZ/Y8uUAA4P//+GeNADoh///7kDPED7n/67UBBDjc4giNKgAGAk9x5AbQAJLo3cACJqTRkBMAEGhtTAABBpoGmmj' +
    '0mCMAjAARgE0GptNUggCYAAMgAABMAAAACMRkwAAJjgAAAAAAAAAAAAZDQAaAGgNAaBJqUkyNE/VNAAAAAAA0AAABoAAABo0PJNy' +
    'cBEhGZS9AyEgNBXiYQAADuLjQgA9BRXO0SNTk5aI4UJjVECTxpmbEqwjRSJMgMKCVMTstpclTEebhAKMjJlvPMJE8zAxR71uPkZO' +
    'jtuYt+/bIfpkAiqyLz+rlVlU01Q2K1ioMQQzuXdixZOWBBRBYIoszu4w4QgIokWTtB4lCEIMyTlF0GaBOaBAO4TCIxOii6dEsQSg' +
    'nQTAoOSUkXdkEggQzs7AoshZYgIGAbuFR6VMkVXpwU4j91K4AUULWOjlw3zHv3cu9jaOffP/TzRbAHtJwW4FWEEYLmHxGYbwAqyI' +
    '759rhHnz8IH2Lhim4+ZN50h5NaAFgNkYMOv+lw5CSPrBjEUSIh8KpHRJSJmtTh1T9qmXJDLCFSXLtVFEV+NATuEDIkkSBeCGokh4' +
    'ZIWBAvySW5kkjlkhLoQMe+Ksw1csP22MskhdLOLJJiyQZIIQMkhmCqCMURBBixb0kmZJC7bJC8BJdkhaELuIxTNaQQzmkVn5c2SF' +
    'oQLcYIH8CBiBCwx5IYca4sirgT+2UqiMwsowSSYoUIiKApFFFgsMFyWGclCxVFiioh+KzmxEWT+VQqwWCKIjBL0WMT/i7kinChIT' +
    '+x5coA==',
  lzma:
    'XQAAAAT//////////wB0AAPAC+z/z0PkJk+DYyOy6iAS9VZvyZlhft6vkQ4F8FrC0oJ2rGqXforxeVqjlrMl5c8324O6yKW1LlG+' +
    'CbADLpCjgjimhcDsjZUJ6MBmN4tsl8X1TykxYO1cJTj7F6ZkeXqvaOYDUIvQ0AYEpefnGbQb3Cl1pz/XuEVfweM0f53OeGVrfR7k' +
    'j98naykhjlVle83la/vJ4+u2KpPDLcvU9yucddfeORnJdKORWTc0rhUOhR0SD8/8u55R6NDMNNEIKPOOMvm+OXvavdsAu+eAgfkm' +
    'tf2Bu1jQKGlX1m/WjryO8xB4SBz+ugiSUNJsgTaQNCvFLJQqXKlQMLnYCMQbR+Z14RNNcevtbNfnSWX99rImTMTrn4Urnyz5jD9u' +
    'sGC3QCOnW9t9fT5O9s4gyM/ul4gqgczS4ZVRAG8QCvToaeiZHVNFBmEU2/f3HXJa1PtZKwhApMvC4yokPeyyiLlyndP9CFlZQn1a' +
    'Wt+UfrKjb+SdMJgrW5yVPTm/Bp1iiNHD04kEpI7GYR5Mf1pw3cGTsTdWtwZ2rKCIj450FOp4ParA+K1P4CTzjLrajopCOm1fUTh1' +
    'alxPzzMlFVqvYiaUPErnGYWIg29yxm9vq+Ne/2hYIDeLMJi3UTUGZOzhAJ0S6DeupbsN1IqeZiCqf5vL67BlZW9MeOFgECd95+yX' +
    '1oVPcUuS672cPuWWHCaXfnjxvC9el7sAbjzWHVa0UqrNOXHNoQS41Uhhu1J+JRqil/QLBKBaVIo8PKZY5a3BjKWw+kqHEdNJaT9a' +
    'w9LjpSNQRP84nj2HGO/2I/jbi8I=',
  xz:
    '/Td6WFoAAAFpIt42AgEEACEBEACLIW9J4BQ3AaFdAHQBQ8AL7P/PQ+QmT4NjJALTyXk1GRbA598SwmFU/EdSz8I6vPq/TNna2YSS' +
    'rhCJ2dFEUi/xgCUM98NFwITb7ym7lOfHVFQgUZSGwZkIaCP4vKI6kNVW17C3YuHuBW+qSv3HurE6nVkpU6CRYYDCtbStpkfXOWg1' +
    'Aay/RwfYyd6VHPameftUqTBsA/XOsBsFGOU9MfrwUCUbLyShq5UQBaD1hTVUKLAQ2GkgX+UwrIDRo1pwD8jny0Xn4dImHjHuiv8L' +
    '1i7jF5dkQ74qPlIAep4R+qPSyKnD3Tq5qJIiPFOws+XXCNP67rlm8llW/hKHvxbC1GBTYb9p6ZN8/O8iUxf947k0jS+0Fv+Col3S' +
    'VONPCYzalpapkYE6+hi3g6ghQFCawQsdhfyIIajB0gacj5MqNuJ0KKzfVoNZ6Xgpr+OSfYY95muUVtddSYcXYvB/i6FmZeAsIElO' +
    'GSsTw2ELr8PvZAEVS4LxuA75kAqiI2zIO/06ORDJTPZ7R93XaOxnbg6PL8q5aw+mKVba5mJO7EcprkE20xBAauE/JFXxoeRO4AAA' +
    'AADQextRAAG5A7goAACdnahXPjANiwIAAAAAAVla',
  lzo:
    'iUxaTwANChoKEEAgoAlAAwkDAAAJAACBpGsBAbAAAAAABXMuYmluS3YFkwAAFDgAAAK2EP6CkiLoAEAAAGEgZHJpdmVyIOjyPyk1' +
    'AAAgnAAABnZpcnRxdWV1ZSAUHgPoaEch6OM+UgDePiowAQxkZXNjcmlwdG9yIGJ5IAAg5wAAKVsE6O09DANMIyjMBCC4oAQEaXMg' +
    'dXNlZCyoAyyECDPkCCq2BL88DBEFdGhlIHJpbmcqYAAwbAEnYA4oSADwBDIAASkoACd4APwFKMUPQFoP6DtyAHY8KEADQxfo5jtS' +
    'AiE8KvIL6BJhBQ1xAEhxAENyAP47LPoHLjwt+AcnsAH3C+gLPCvIACmBAbFyDuw7hAgsIAUnDAMgECoPnTsphgXoTys1AEF9DXwq' +
    'SAAoMAInSAAgGOgBIHQDAOgNOiDSgBIxfwfohDlWIT85DKIyqwzo5jhWA+E4CA4gRvgHMeAJIHqUFyCtTAw/AABiolU3KuYQBzcs' +
    '2hM3NzSSCR83KFgVLh8A6II2Tkz9NpwLaQzyfgFtNikQJjAgACltAUMqpwDotTY1VBVlC5hlC1MshAAnGQJ7cgN2NgAqL3wYIBSk' +
    'BCpaBKA1KtIEkjUrOhnDNSBrZBDOMO40USFpRxPo5DQEKzEYGyBnriHoRCt8AjH/EOiiNCjiAOhVYhtQNDJwCTVHBOjiMzYsHyCS' +
    'HzDoVDMghJwCKvoMoTKtj5m8ACdkBijWDz8yM+oY6KdfAuiiMjLgCDD8KC/cDzAiAOhWYQoRcgAMMgyIMHAkOZQvpGsyAAIgYvAu' +
    'Aug9MQAAIFtEAn47uTAz9BigJyemAtMwLM4ZwzC1B3stXQCrXwHopjAgchAdMSQRAuh9LwAAIM44ISB9gjBsLlIA5y0qVgxieTOO' +
    'OegBagW8LTMIEjHFGpJHBegNLjTGEnUtKWgaKsIB6NsqZAAnNQxFKlQAKLIALi3ijugjeQ2eKpgANRI++ixCBTUtIAAKjAgRAAAA' +
    'AAAA',
  lz4:
    'AiFMGPECAAD3AugAQAAAYSBkcml2ZXIg6PI/DgAfAAEAqp92aXJ0cXVldWXIACLY6Gg/AADo4z4AAOjePk0A/wBkZXNjcmlwdG9y' +
    'IGJ5IAABAPUHFwGG6O09AABieSA0AQ8pAcZ6aXMgdXNlZOsACiICDzoCAgguAci/PAAAdGhlIHJpbmcZAA5cAAWZAwYTAAQlAA5B' +
    'AAllAAUfAAQwAAbyA2BAPAAA6DsFACZ2PNEAuGJ5IOjmOwAA6CE8/QIg6BIpABANBQAQSAUAEEMFACr+O/8BKy48/wEFuAAEXgA5' +
    '6As8MwAHYQAQsXUATew7AABJAQXEAA/LAx4nnTtiASnoTw4AEEFwABh8EwAGjQAFEwAOewAPtQKpP+gNOqEE4A/gAQCv6IQ5AADo' +
    'PzkAACsDAYfo5jgAAOjhODsAD7EGVQ5wAg/mBX8OFAMPPwLKABEFKFU3OgQqBzf3BC83N2UCAyYfN1cFDAgAgeiCNgAA6P02YAAA' +
    'YwAQ8hAAJ202hQkOCQAHXAAYQyoAP+i1NlYFBABaABCYWgAaUyIABYcAEHsdACZ2NqkADwQKKAq5BTjooDU1ASmSNU8GL8M1GgR5' +
    'A4QByO40AADoaTUAAOjkNK4ADhgLD2wIbCnoRKAAD0AEADboojQ5ACDoVdkAL1A0XQIBDxIBBD/o4jPMBwUPCAygP+hUM6gAkgg/' +
    'AyKhMnwEEpkIAAUFCQb2Ay8/MjsGAo/opzIAAOiiMjkCAQ5ACg34Aw53BCDoVlEAEBEFAE4MMgAAHQkP5gsIAloDD4EAAQ+9C3A+' +
    '6D0xLg4PXAZdL7kwPgYCAjkBBaoAKtMwdAYiwzA+ABt7GAB/qzAAAOimMEUHgA9KBAA+6H0vZAkPAQD/aqnobC4AAOjnLQAAiQIP' +
    'ZA4BIOgBKwAvvC2DBAIPsgYAIJItgAwfLrIEAyd1LZsGCPINKOjbGgAFRg4YRRYABi0AJS4tTwkQI28AGJ4nAA+FDwR/+iwAAOg1' +
    'LR8C/xNQAAAAAAA=',
  zstd:
    'KLUv/WQ4E6UTAEYRQTkgkzMGCeAzLMcNXSQATrgQCsLYGSWnEhyoTrnbkkhlx7SdMNCYYONV97cM66WlCGIURLMEGDjMAqUwADAA' +
    'MgCVRU6Wna6UTdK5pys1L0erw94LVlWVZm6XbG6Pq1eykh6ta0uPPJ+3lvaqpoVt8gOi2e3ReHskcjOA/tEQcbHEFnNYqMDpJv6c' +
    'IEAFpwe3xdlpKd6mJowNe2ddtWwKowodSojioRpPAnUvdofb3s3tz3o7/mQf7Ds5WL4mRsCWn0ANHtDnNhjy0CAMw4AQZRHN7dp3' +
    'O6HHBEHbHmSukd9AtzXYC8BtDef2lnEFkJtL+cqLk3ExnIu9QOoGCCrexa7ybiQJgJSgwalWE6RJIcMBQIQYQ0VUHSd/UA3xqVFl' +
    'y2kjFSmgGWTMiFjc4aDFx1MakPxXrU1Wb4Pt3nLmfBmj4F5IPah6VPwNa2LXegFTB+CbfqCBd1JqgcazwSD5jtMaueJ042thSKt4' +
    'knAvcEiouCfegAUpBvRwmBKbOq15KO0FgI/78/+mc0rT6B8dCA0uRbMUKmyBonzeoIHg1ldtIMZ1xtwwXkk7Aq7CG0QNylpigIfM' +
    'Q77wD9Ok3ONwxs0byXGgSFm+g62AosUC825rZ9XarfyXRhwPYsQ0iGaijXnZkLTyJhop1WcyPYxTtC2IYerKPi1zQCG0NhXfeHL5' +
    '9PF9su0ogpDyc0cBAWODac6gwMOyGXSO6OiFZ9ocF0sqbvsj4BKcRZAlAMLjwAbaWFcC8BnvVlQoBwvq6z5dii9bRmIp6tJQcH7h' +
    'S69j5MSM0wMfJUIG3Je7spCSmyo1hrEVrKpC4n4t4WmdovQwQhXl17w2',
};

describe('decompress', () => {
  it.each(Object.entries(PACKED))('unpacks %s', async (name, text) => {
    const packed = Uint8Array.from(Buffer.from(text, 'base64'));
    expect(detectCompression(packed)).toBe(name);
    for (const expected of [sample().length, 0])
      expect(Buffer.from(await decompress(packed, expected)).equals(sample())).toBe(true);
  });

  it("unpacks gzip, with the host's function when it is given", async () => {
    const packed = gzipSync(sample());
    expect(Buffer.from(await decompress(packed)).equals(sample())).toBe(true);
    let used = 0;
    const own = await decompress(packed, 0, { gzip: () => Uint8Array.of(++used) });
    expect([own[0], used]).toEqual([1, 1]);
  });

  it('refuses what it does not know', async () => {
    await expect(decompress(Uint8Array.of(1, 2, 3))).rejects.toThrow(
      'unknown compression (data starts with 01 02 03)',
    );
    await expect(decompress(new Uint8Array(0))).rejects.toThrow('data starts with nothing');
  });

  it.each(Object.entries(PACKED))('never hangs on damaged %s, nor throws another error', async (_, text) => {
    const packed = Buffer.from(text, 'base64');
    await fc.assert(
      fc.asyncProperty(fc.nat(packed.length - 1), fc.nat(255), fc.boolean(), async (at, value, cut) => {
        const damaged = Uint8Array.from(cut ? packed.subarray(0, at) : packed);
        if (!cut) damaged[at] = value;
        try {
          await decompress(damaged, 8192);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('xz: a flipped bit in the data is found by the check', () => {
    const packed = Uint8Array.from(Buffer.from(PACKED['xz']!, 'base64'));
    packed[120]! ^= 1;
    expect(() => unxz(packed, new Output(8192))).toThrow(/xz|lzma/);
  });
});

describe('undoX86Branches', () => {
  it('makes an absolute CALL target relative to the next instruction', () => {
    // At offset 2, the encoder added 2 + 5 to the displacement 100h.
    const data = Uint8Array.of(0x90, 0x90, 0xe8, 0x07, 0x01, 0x00, 0x00, 0x90, 0x90, 0x90);
    undoX86Branches(data, 0, data.length);
    expect([...data.subarray(3, 7)]).toEqual([0x00, 0x01, 0x00, 0x00]);
  });

  it('leaves a target alone that is too far to be one', () => {
    const data = Uint8Array.of(0xe8, 0x07, 0x01, 0x00, 0x40, 0x90);
    undoX86Branches(data, 0, data.length);
    expect(data[1]).toBe(0x07);
  });
});
